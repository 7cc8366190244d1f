# docker build -t genpas . && docker run --rm -v "$PWD:/data" genpas analyze /data/store --out /data/report
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /genpas
# The lock alone first: its layer is kept until a pin changes. Point pip at a CPU build of torch with --build-arg.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1
COPY requirements requirements
COPY Makefile pyproject.toml README.md LICENSE ./
COPY genpas_plugins genpas_plugins
COPY recbole_ext recbole_ext
COPY torchrec_ext torchrec_ext
RUN make venv PYTHON=python3.11 && find .venv -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.11-slim
RUN useradd --create-home genpas
COPY --from=build /genpas /genpas
COPY configs /genpas/configs
ENV PATH=/genpas/.venv/bin:$PATH
USER genpas
WORKDIR /home/genpas
ENTRYPOINT ["genpas"]
