# docker build -t mimc-app-proxy .         web by default; `app-proxy worker` as the command for a worker (compose.yaml)
# docs/operations.md, "Containers", says what of it was tried and what a test checks.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
COPY tools/runtime_lock.py tools/
# each file checked by its hash, and no tool of the tests among them
RUN python tools/runtime_lock.py > run.lock && python tools/runtime_lock.py flit-core > build.lock \
 && python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes -r run.lock \
 && pip install --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
# what the links of proxy/data lead to
COPY config config
COPY ops/systemd ops/systemd
RUN pip wheel --no-deps --no-build-isolation -w /build/wheels . \
 && /opt/venv/bin/pip install --no-deps /build/wheels/*.whl \
 && /opt/venv/bin/python -m compileall -q /opt/venv/lib \
 && /opt/venv/bin/pip uninstall -y pip setuptools

FROM python:3.11-slim-bookworm
# the folder of the spool, of the accounts and of the operators; a volume that is mounted there begins with its owner
RUN useradd --system --uid 10001 --no-create-home --home-dir /var/lib/app-proxy --shell /usr/sbin/nologin app-proxy \
 && install -d -o app-proxy -g app-proxy -m 700 /var/lib/app-proxy
COPY --from=build /opt/venv /opt/venv
WORKDIR /var/lib/app-proxy
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    APP_PROXY_CONFIG=/etc/app-proxy/proxy.toml \
    APP_PROXY_SERVER__BIND=0.0.0.0:8080 \
    APP_PROXY_SERVER__OPERATOR_BIND=0.0.0.0:9464 \
    APP_PROXY_RELAY__OPERATOR_BIND=0.0.0.0:9465 \
    APP_PROXY_CONSOLE__OPERATORS=/var/lib/app-proxy/operators.sqlite3
USER 10001
EXPOSE 8080 9464 9465
# no shell and no curl; a worker has its own port
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 9464, timeout=3); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["app-proxy", "web"]
