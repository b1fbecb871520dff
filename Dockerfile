# Three images for a cluster and one for a single machine:
#   fleet          scans, migrations, rollouts: no Airflow, no TensorFlow
#   trainer        trainings, and the model server for machines without TensorFlow Serving
#   airflow        Airflow with the DAGs; programs run in pods (SNIFFER_RUN_IN=pods)
#   airflow-local  the same with the trainer's packages: programs run as processes of its tasks (docker-compose.yaml)
#
#   docker build --target fleet --tag sniffer-bot/fleet:0.1.0 .
#
# Which packages an image holds is in docker/*.in, their versions in requirements.txt. An index of your own, or one behind
# a certificate of your own, comes as a secret that stays out of the image:
#   --secret id=pip_conf,src=/etc/pip.conf --secret id=ca_certificates,src=/etc/ssl/certs/ca-certificates.crt
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm


FROM ${PYTHON_IMAGE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config default-libmysqlclient-dev \
    # Debian's Python has its headers apart; the official image brings them.
    && { python -c 'import os, sysconfig as s; os.stat(os.path.join(s.get_path("include"), "Python.h"))' \
         || apt-get install -y --no-install-recommends libpython3.11-dev; } \
    && rm -rf /var/lib/apt/lists/*
# Without pip and setuptools, which no program here needs.
RUN python -m venv --without-pip /opt/venv
WORKDIR /build
COPY requirements.txt .
COPY docker/install-packages .
COPY docker/*.in ./

FROM build AS fleet-packages
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./install-packages fleet.in

FROM build AS trainer-packages
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./install-packages trainer.in

FROM build AS airflow-packages
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./install-packages airflow.in

FROM build AS airflow-local-packages
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./install-packages airflow.in fleet.in trainer.in


# Our own code, compiled: with a read-only root nothing could be kept at run time. The checksum kind of .pyc holds
# whatever times a builder gives the files.
FROM build AS code
COPY scripts /opt/sniffer/scripts
COPY model /opt/sniffer/model
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/sniffer

FROM code AS airflow-code
COPY plugins /opt/sniffer/plugins
COPY dags /opt/sniffer/dags
COPY k8s /opt/sniffer/k8s
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/sniffer/plugins


FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sniffer-bot" \
      org.opencontainers.image.description="Finds illegal-drug images in S3 buckets" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 sniffer \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sniffer
COPY docker/with-secrets /usr/local/bin/with-secrets
# HOME is what can be written: the root is read-only in the cluster.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sniffer/scripts:/opt/sniffer/model \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/tmp \
    USER=sniffer
WORKDIR /tmp


FROM runtime AS fleet
LABEL org.opencontainers.image.title="sniffer-bot/fleet"
COPY --from=fleet-packages /opt/venv /opt/venv
COPY --from=code /opt/sniffer /opt/sniffer
USER 10001:10001
CMD ["python", "-m", "sniffer.scan", "--help"]


FROM runtime AS trainer
LABEL org.opencontainers.image.title="sniffer-bot/trainer"
COPY --from=trainer-packages /opt/venv /opt/venv
COPY --from=code /opt/sniffer /opt/sniffer
USER 10001:10001
CMD ["python", "-m", "sniffer_model.training.train", "--help"]


FROM runtime AS airflow-base
# The Helm chart runs Airflow as user 50000 of group 0, compose as 10001: the home is the group's as well.
RUN install -d -o 10001 -g 0 -m 0775 /opt/airflow /opt/airflow/logs
COPY docker/entrypoint docker/clean-logs /
COPY docker/airflow-health docker/airflow-init /usr/local/bin/
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sniffer/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sniffer/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER 10001:0
WORKDIR /opt/airflow
CMD ["airflow", "version"]


FROM airflow-base AS airflow
LABEL org.opencontainers.image.title="sniffer-bot/airflow"
# Programs run in pods: what a task would start here is not.
ENV SNIFFER_RUN_IN=pods
COPY --from=airflow-packages /opt/venv /opt/venv
COPY --from=airflow-code /opt/sniffer /opt/sniffer


FROM airflow-base AS airflow-local
LABEL org.opencontainers.image.title="sniffer-bot/airflow-local"
ENV SNIFFER_RUN_IN=processes
COPY --from=airflow-local-packages /opt/venv /opt/venv
COPY --from=airflow-code /opt/sniffer /opt/sniffer
COPY local/sniffer_local/__init__.py /opt/sniffer/local/sniffer_local/
COPY local/sniffer_local/samples /opt/sniffer/local/sniffer_local/samples
ENV PYTHONPATH=/opt/sniffer/scripts:/opt/sniffer/model:/opt/sniffer/local
COPY docker/prepare.py docker/sample_data.py /opt/sniffer/docker/
