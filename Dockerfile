# docker build -t gridbazaar . && docker run --rm -v "$PWD/results:/gridbazaar/results" gridbazaar
# With CUDA: docker build --build-arg TORCH_INDEX= -t gridbazaar . && docker run --gpus all ...
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /gridbazaar
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY . .
RUN make .venv/.runtime TORCH_INDEX="$TORCH_INDEX"

ENV PATH=/gridbazaar/.venv/bin:$PATH
# Ray keeps its objects in /dev/shm, which is small in a container unless --shm-size says otherwise.
ENV RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE=1
CMD ["make", "demo"]
