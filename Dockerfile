# The same set-up as `make eval`, for machines with an NVIDIA GPU:
#   docker build -t amplify .
#   mkdir -p results
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" \
#       -v "$PWD/results:/amplify/results" -v amplify-cache:/cache amplify --episodes 4
# Results are in ./results and belong to you; downloaded assets stay in the volume amplify-cache for the next run.
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04

# `graphics` makes the driver's EGL visible, so that MuJoCo renders on the GPU.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates make python3 python3-venv libegl1 libgl1-mesa-dri libosmesa6 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /amplify
COPY . .
RUN make setup
# Whoever runs it keeps downloads and caches in /cache, and may write results where nothing is mounted. A named volume
# takes over the mode of the folder that it is first mounted on.
RUN install -d -m 1777 /cache /amplify/results
ENV HOME=/cache
ENTRYPOINT ["/amplify/scripts/run.sh", "-m", "sim.eval"]
