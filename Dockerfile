# The image: the service, CA certificates and a C library; no shell, no root.
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" -t purgefront .
# Tags move; where that matters, pin both bases by the digest that you have tested.

FROM rust:1.95.0-trixie AS build
# Paths are relative throughout, so that deploy/docker/dry-run.py can run this stage anywhere.
WORKDIR /build

# Dependencies have a layer of their own, which lasts as long as these files. The stub is
# forgotten at once: cargo goes by times, and a checkout's may be older than the stub's.
COPY Cargo.toml Cargo.lock ./
COPY deploy/release.sh deploy/
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && deploy/release.sh \
    && cargo clean --release --package purgefront \
    && rm -r src

COPY openapi.yaml ./
COPY src src
RUN deploy/release.sh && mkdir -m 0700 state

# The base of Debian 13, as is the build stage: distroless ended Debian 12 in September 2026.
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
# A new volume takes over the owner of what it covers.
COPY --from=build --chown=65532:65532 /build/state /var/lib/purgefront

# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/purgefront
VOLUME /var/lib/purgefront
ENV PURGEFRONT_STORE__URL=sqlite:///var/lib/purgefront/purgefront.db
# The operators' 9090 listens on the container's own loopback until server.admin_listen says
# otherwise; from then on it wants a token, but for metrics and probes.
EXPOSE 8080 9090
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["/usr/local/bin/purgefront", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/purgefront"]
CMD ["serve"]
