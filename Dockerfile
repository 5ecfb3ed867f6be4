# The first stage builds a virtual environment; the second holds that, Python, and nothing to install or build with.
# Any Debian with Python 3.11 or newer and its venv module will do for both: docker build --build-arg BASE=...
# A tag is moved by its owner. Whoever wants the same base each time names it by a digest that they have looked at:
# BASE=docker.io/library/python@sha256:...
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# Extras of pyproject.toml, for example [fast,negotiate], whose second needs a base with its compiler and libraries.
ARG EXTRAS="[fast]"
WORKDIR /src
COPY constraints.txt ./
COPY locked locked
# Each file that is installed has a hash that was known before. What the extra `negotiate` needs is built here, from files
# with a hash as well, by tools of which the version is known; all else comes as wheels.
# Where PyPI is reached only by an index or a proxy of your own: docker build --secret id=pip,src=pip.conf ...
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    case "${EXTRAS}" in *negotiate*) locked=negotiate built=gssapi,krb5 ;; *) locked=run built=:none: ;; esac \
 && python3 -m venv /opt/build \
 && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement locked/build.txt \
 && python3 -m venv /opt/exporter \
 && /opt/exporter/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: --no-binary "$built" \
        --requirement "locked/$locked.txt"
COPY pyproject.toml LICENSE ./
COPY docs/package.md docs/
COPY exporter exporter
COPY config config
COPY dashboards/runbooks dashboards/runbooks
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /wheel \
 && /opt/exporter/bin/python -m pip install --no-index --no-deps /wheel/*.whl \
 && /opt/exporter/bin/python -m pip uninstall --yes setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="configmgr-endpoint-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/exporter /opt/exporter
# The base's own package tools are not needed to run, so they are not left to be used.
RUN if command -v pip; then pip uninstall --yes pip; fi
ENV PYTHONUNBUFFERED=1 PATH="/opt/exporter/bin:$PATH"
# A number, so that Kubernetes can see that it is not root.
USER 65534:65534
EXPOSE 10965
# For plain http on the default port: give a command of your own, or none, where you change these.
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:10965/-/healthy', timeout=2)"]
ENTRYPOINT ["configmgr-endpoint-exporter"]
CMD ["serve"]
