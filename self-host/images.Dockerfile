# syntax=docker/dockerfile:1
# A small store for profile images that speaks S3's language. Any other does as well: see docs/self-host.md.
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install s3s-fs --version 0.14.1 --features binary --locked && mkdir -p /images/profile-images

FROM ${RUNTIME_IMAGE}
COPY --from=build /usr/local/cargo/bin/s3s-fs /usr/local/bin/s3s-fs
# A volume that is new takes its owner and its one bucket from here.
COPY --from=build --chown=65532:65532 /images /images
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/s3s-fs"]
