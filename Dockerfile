# The production image: the server alone, without the embedded database, the emulated AWS and Node.
# Build: docker build --tag streamcat .        Run: see compose.yaml.

FROM node:24-slim AS web
WORKDIR /web
COPY web/ ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM python:3.13-slim AS packages
COPY locks/server.lock /locks/
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes --requirement /locks/server.lock

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home streamcat \
    && install --directory --owner streamcat --group streamcat --mode 0700 /data
WORKDIR /srv/streamcat
COPY --from=packages /venv /venv
COPY --from=web /web/node_modules web/node_modules
COPY . .

# A container is reached from outside; whether the world reaches it is decided by who publishes the port.
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
USER streamcat
EXPOSE 8000
# The process answers before the database does, so that an outage of it restarts nothing.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
# Subscriptions are completed on SIGTERM; give it more than SHUTDOWN_SECONDS.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "app", "serve"]
