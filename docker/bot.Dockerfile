# The bot: Discord, course and data desk. Holds no torch.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY jobs jobs
COPY playground playground
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt -e ".[bot,s3]" \
    && /venv/bin/python -m compileall -q bot jobs playground

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home afina && install -d -o afina -g afina /data
COPY --from=build /venv /venv
COPY --from=build /src /src
COPY course /src/course
COPY prompts /src/prompts
WORKDIR /src
USER afina
# The root file system is read-only where docker-compose.yml runs it: caches go to /tmp.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    AFINA_DATA_DIR=/data HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
VOLUME /data
ENTRYPOINT ["python", "-m", "bot"]
