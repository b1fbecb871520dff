# Stand-ins for the third-party images of docker-compose.yaml, for machines that can pull none; see standins.yaml.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS mysql
RUN groupadd --gid 999 mysql && useradd --uid 999 --gid 999 --no-create-home mysql \
    && apt-get update && apt-get install -y --no-install-recommends mariadb-server && rm -rf /var/lib/apt/lists/* /var/lib/mysql/* \
    && install -d -o mysql -g mysql /run/mysqld
COPY tests/docker/mariadb-entrypoint /usr/local/bin/
ENTRYPOINT ["mariadb-entrypoint"]
CMD ["mysqld"]

FROM ${PYTHON_IMAGE} AS s3
RUN python -m venv --without-pip /opt/venv
COPY tests/docker/standin-s3.txt .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=secret,id=ca_certificates \
    --mount=type=cache,target=/root/.cache/pip \
    ca=/run/secrets/ca_certificates; [ ! -s $ca ] || export PIP_CERT=$ca; \
    python -m pip --python /opt/venv/bin/python install -q --require-hashes -r standin-s3.txt
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp
