# syntax=docker/dockerfile:1
# Caddy with the client's page, for one deployment: what the page must know of it is built in.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
ARG CADDY_IMAGE=docker.io/library/caddy:2

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
COPY client/package.json client/
RUN npm ci --omit=optional --no-audit --no-fund
COPY client client
COPY edge-worker/page.mjs edge-worker/
ARG PAGENOW_ORIGIN PAGENOW_ISSUER PAGENOW_CLIENT_ID PAGENOW_IMAGES PAGENOW_SIGN_IN
RUN npm run build --workspace client && node edge-worker/page.mjs caddy client/dist/app /page

FROM ${CADDY_IMAGE}
COPY --from=build /page /srv
