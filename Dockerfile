# Two images from one file: `api`, without torch, and `worker`.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PATH=/opt/descent/bin:$PATH HOME=/tmp
# One number for both images, because they share files: the secrets and the storage.
RUN groupadd --gid 10001 descent \
    && useradd --uid 10001 --gid descent --no-create-home --shell /usr/sbin/nologin descent \
    && mkdir -p /var/lib/descent/storage /var/lib/descent/scratch /run/secrets \
    && chown -R descent:descent /var/lib/descent /run/secrets
WORKDIR /var/lib/descent

# Dependencies come before the code, so that a change of the code does not install torch again.
FROM base AS build
# An index that carries builds of torch for the accelerator at hand; the package index's own build fits most.
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
RUN python -m venv /opt/descent
COPY pyproject.toml constraints.txt README.md LICENSE ./

FROM build AS build-api
RUN pip install --no-cache-dir --constraint constraints.txt '.[api,s3]'
COPY api api
COPY models models
COPY migrations migrations
COPY descent descent
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM build AS build-worker
RUN pip install --no-cache-dir --constraint constraints.txt '.[worker,s3]'
COPY worker worker
COPY models models
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM base AS api
COPY --from=build-api /opt/descent /opt/descent
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0"]

FROM base AS worker
COPY --from=build-worker /opt/descent /opt/descent
USER 10001:10001
CMD ["celery", "--quiet", "-A", "worker.tasks", "worker", "--pool", "prefork", "--concurrency", "1"]
