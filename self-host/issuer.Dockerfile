# syntax=docker/dockerfile:1
# Development's OpenID Connect provider, to try PageNow out. It signs in anybody as anybody.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE}
WORKDIR /srv
COPY package.json package-lock.json ./
COPY client/package.json client/
RUN npm ci --omit=optional --ignore-scripts --no-audit --no-fund && install -d -o 65532 -g 65532 /keys
COPY dev/oidc.mjs dev/
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["node"]
