# The same set-up as `make eval`, for machines with an NVIDIA GPU:
#   docker build -t amplify .
#   docker run --rm --gpus all -v "$PWD/results:/amplify/results" amplify --suite libero_10 --episodes 4
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04

# `graphics` makes the driver's EGL visible, so that MuJoCo renders on the GPU.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates make python3 python3-venv libegl1 libgl1-mesa-dri libosmesa6 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /amplify
COPY . .
RUN make setup
ENTRYPOINT ["scripts/run.sh", "-m", "sim.eval"]
