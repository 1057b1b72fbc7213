# The image contains the service, CA certificates and a C library. It has no shell and does not run
# as root.
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" -t purgefront .
# Tags are mutable; if that matters, pin both base images by a digest that you have tested.

FROM rust:1.95.0-trixie AS build
# All paths are relative, so that deploy/docker/dry-run.py can run this stage in any directory.
WORKDIR /build

# Build dependencies in their own layer, which is reused while these files are unchanged. Then clean
# the stub's build: cargo compares modification times, and the real sources may be older.
COPY Cargo.toml Cargo.lock ./
COPY deploy/release.sh deploy/
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && deploy/release.sh \
    && cargo clean --release --package purgefront \
    && rm -r src

COPY openapi.yaml ./
COPY src src
RUN deploy/release.sh && mkdir -m 0700 state

# Debian 13, like the build stage: distroless dropped Debian 12 in September 2026.
FROM gcr.io/distroless/cc-debian13:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="purgefront" \
      org.opencontainers.image.description="Makes CloudFront drop exactly what changed in S3" \
      org.opencontainers.image.source="https://github.com/purgefront/purgefront" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE /usr/share/doc/purgefront/
COPY --from=build /build/target/release/purgefront /usr/local/bin/
# A new volume inherits the owner of the directory that it is mounted on.
COPY --from=build --chown=65532:65532 /build/state /var/lib/purgefront

# Numeric, so that an orchestrator can verify that the user is not root.
USER 65532:65532
WORKDIR /var/lib/purgefront
VOLUME /var/lib/purgefront
ENV PURGEFRONT_STORE__URL=sqlite:///var/lib/purgefront/purgefront.db
# The admin listener, 9090, is on the container's loopback address by default. If
# server.admin_listen moves it, everything but metrics and probes requires a token.
EXPOSE 8080 9090
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/purgefront", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/purgefront"]
CMD ["serve"]
