# The worker and the embedded engine: torch, transformers, peft, trl. Knows no Discord token.
# TORCH is a requirement that pip resolves; TORCH_INDEX an optional package index with other builds (CPU only, for one).
FROM python:3.12-slim AS build
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY jobs jobs
COPY playground playground
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$TORCH" \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt -e ".[gpu,s3]" \
    && /venv/bin/python -m compileall -q bot jobs playground

FROM python:3.12-slim
# Triton and some kernels compile small pieces at run time.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home afina && install -d -o afina -g afina /data
COPY --from=build /venv /venv
COPY --from=build /src /src
COPY course /src/course
WORKDIR /src
USER afina
# The root file system is read-only where docker-compose.yml runs it: caches go to /tmp.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 \
    HOME=/tmp HF_HOME=/tmp/hf TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "jobs.gpu"]
CMD ["worker", "--data", "/data", "--artifacts", "/data"]
