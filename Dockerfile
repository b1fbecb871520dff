# Four images for a cluster and one for a single machine:
#   fleet          scans, migrations, rollouts: no Airflow, no TensorFlow
#   trainer        trainings, and the model server for machines without TensorFlow Serving
#   review         the review page and its accounts: no Airflow, no TensorFlow
#   airflow        Airflow with the DAGs; programs run in pods (SNIFFER_RUN_IN=pods)
#   airflow-local  the same with the trainer's packages: programs run as processes of its tasks (docker-compose.yaml)
#
#   docker build --target fleet --tag sniffer-bot/fleet:0.1.0 .
#
# An image holds the packages of docker/TARGET.txt, which `make lock` makes, each checked by its hash, and our own wheel.
# An index of your own, or one behind a certificate of your own, comes as a secret that stays out of the image:
#   --secret id=pip_conf,src=/etc/pip.conf --secret id=ca_certificates,src=/etc/ssl/certs/ca-certificates.crt
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm


FROM ${PYTHON_IMAGE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config default-libmysqlclient-dev \
    # Debian's Python has its headers apart; the official image brings them.
    && { python -c 'import os, sysconfig as s; os.stat(os.path.join(s.get_path("include"), "Python.h"))' \
         || apt-get install -y --no-install-recommends libpython3.11-dev; } \
    && rm -rf /var/lib/apt/lists/*
# Without pip and setuptools, which no program here needs; what builds is in an environment of its own.
RUN python -m venv --without-pip /opt/venv && python -m venv --without-pip /opt/build
WORKDIR /build
COPY docker/build-wheels docker/install-wheels docker/build.txt ./
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    ca=/run/secrets/ca_certificates; [ ! -s $ca ] || export PIP_CERT=$ca; \
    python -m pip --python /opt/build/bin/python install -q --require-hashes --no-deps --requirement build.txt

FROM build AS fleet-packages
COPY docker/fleet.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./build-wheels fleet.txt && ./install-wheels

FROM build AS trainer-packages
COPY docker/trainer.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./build-wheels trainer.txt && ./install-wheels

FROM build AS review-packages
COPY docker/review.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./build-wheels review.txt && ./install-wheels

FROM build AS airflow-packages
COPY docker/airflow.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./build-wheels airflow.txt && ./install-wheels

FROM build AS airflow-local-packages
COPY docker/airflow-local.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ./build-wheels airflow-local.txt && ./install-wheels


# Our own wheel, installed beside the packages so that it is a layer of its own. Compiled: with a read-only root nothing
# could be kept at run time. The checksum kind of .pyc holds whatever times a builder gives the files.
FROM build AS wheel
COPY pyproject.toml LICENSE ./
COPY k8s k8s
COPY scripts scripts
COPY model model
COPY plugins plugins
COPY local local
RUN python -m pip --python /opt/build/bin/python wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && python -m pip --python /opt/venv/bin/python install --no-index --no-deps --no-compile --root /own /dist/*.whl

# The demo and its drawn pictures are for no cluster.
FROM wheel AS code
RUN cd /own/opt/venv/lib/python3.11/site-packages \
    && rm -r sniffer_local && sed -i '/^sniffer_local\//d' sniffer_bot-*.dist-info/RECORD \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /own /own

FROM wheel AS code-with-samples
RUN cd /own/opt/venv/lib/python3.11/site-packages \
    && find sniffer_local -mindepth 1 -maxdepth 1 ! -name __init__.py ! -name samples -exec rm -r {} + \
    && sed -i '/^sniffer_local\/\(samples\/\|__init__\.py\)/b; /^sniffer_local\//d' sniffer_bot-*.dist-info/RECORD \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /own /own


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
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/tmp \
    USER=sniffer
WORKDIR /tmp


FROM runtime AS fleet
LABEL org.opencontainers.image.title="sniffer-bot/fleet"
COPY --from=fleet-packages /opt/venv /opt/venv
COPY --from=code /own/opt/venv /opt/venv
USER 10001:10001
CMD ["python", "-m", "sniffer.scan", "--help"]


FROM runtime AS trainer
LABEL org.opencontainers.image.title="sniffer-bot/trainer"
COPY --from=trainer-packages /opt/venv /opt/venv
COPY --from=code /own/opt/venv /opt/venv
USER 10001:10001
CMD ["python", "-m", "sniffer_model.training.train", "--help"]


FROM runtime AS review
LABEL org.opencontainers.image.title="sniffer-bot/review"
COPY --from=review-packages /opt/venv /opt/venv
COPY --from=code /own/opt/venv /opt/venv
USER 10001:10001
CMD ["python", "-m", "sniffer.review.web.serve", "--help"]


FROM runtime AS airflow-base
# The Helm chart runs Airflow as user 50000 of group 0, compose as 10001: the home is the group's as well.
RUN install -d -o 10001 -g 0 -m 0775 /opt/airflow /opt/airflow/logs
COPY docker/entrypoint docker/clean-logs /
COPY docker/airflow-health docker/airflow-init /usr/local/bin/
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sniffer/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    SNIFFER_POD_TEMPLATES=/opt/sniffer/k8s
USER 10001:0
WORKDIR /opt/airflow
CMD ["airflow", "version"]


FROM airflow-base AS airflow
LABEL org.opencontainers.image.title="sniffer-bot/airflow"
# Programs run in pods: what a task would start here is not.
ENV SNIFFER_RUN_IN=pods
COPY --from=airflow-packages /opt/venv /opt/venv
COPY --from=code /own/opt/venv /opt/venv
COPY dags /opt/sniffer/dags
COPY k8s /opt/sniffer/k8s


FROM airflow-base AS airflow-local
LABEL org.opencontainers.image.title="sniffer-bot/airflow-local"
ENV SNIFFER_RUN_IN=processes
COPY --from=airflow-local-packages /opt/venv /opt/venv
COPY --from=code-with-samples /own/opt/venv /opt/venv
COPY dags /opt/sniffer/dags
COPY k8s /opt/sniffer/k8s
COPY docker/prepare.py docker/sample_data.py /opt/sniffer/docker/
