# Two images from one file: `api`, without torch, and `worker`.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_NO_CACHE_DIR=1 PATH=/opt/descent/bin:$PATH HOME=/tmp
# One number for both images, because they share files: the secrets and the storage.
RUN groupadd --gid 10001 descent \
    && useradd --uid 10001 --gid descent --no-create-home --shell /usr/sbin/nologin descent \
    && mkdir -p /var/lib/descent/storage /var/lib/descent/scratch /run/secrets \
    && chown -R descent:descent /var/lib/descent /run/secrets
WORKDIR /var/lib/descent

# Dependencies come before the code, so that a change of the code does not install torch again. What is not on the
# list with its digest is not installed.
FROM base AS build
WORKDIR /src
COPY requirements requirements
# What installs and what makes a wheel of the code stays behind in a folder of its own.
RUN python -m venv --without-pip /opt/descent && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt
ENV PIP="/opt/build/bin/pip --python /opt/descent/bin/python"

FROM build AS build-api
RUN $PIP install --require-hashes --requirement requirements/api.txt
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY models models
COPY migrations migrations
COPY descent descent
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /built . \
    && $PIP install --no-deps /built/descent-*.whl

FROM build AS build-worker
# An index that carries builds of torch for the accelerator at hand; the package index's own build fits most. Which one
# it is decides what it brings along, so torch alone is installed by version, and without a digest.
ARG PIP_EXTRA_INDEX_URL=""
COPY constraints.txt ./
RUN $PIP install --require-hashes --requirement requirements/worker.txt \
    && $PIP install --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY models models
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /built . \
    && $PIP install --no-deps /built/descent-*.whl

FROM base AS api
COPY --from=build-api /opt/descent /opt/descent
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "api", "--host", "0.0.0.0"]

FROM base AS worker
COPY --from=build-worker /opt/descent /opt/descent
USER 10001:10001
CMD ["celery", "--quiet", "-A", "worker.tasks", "worker", "--pool", "prefork", "--concurrency", "1"]
