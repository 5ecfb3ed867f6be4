# The wheel is built in the first stage; the second holds Python, the wheel and nothing to build with.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY exporter exporter
COPY config config
COPY dashboards/runbooks dashboards/runbooks
RUN python -m venv /opt/exporter \
 && /opt/exporter/bin/pip install --no-cache-dir --constraint constraints.txt . \
 && /opt/exporter/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="configmgr-endpoint-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/exporter /opt/exporter
# The image's own package tools are not needed to run, so they are not left to be used.
RUN pip uninstall --yes pip
ENV PYTHONUNBUFFERED=1 PATH="/opt/exporter/bin:$PATH"
# A number, so that Kubernetes can see that it is not root.
USER 65534:65534
EXPOSE 10965
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:10965/-/healthy', timeout=2)"]
ENTRYPOINT ["configmgr-endpoint-exporter"]
CMD ["serve"]
