// Fills in what only a deployment knows of the edge: wrangler.toml and one file of JSON become wrangler.ENVIRONMENT.json, from
// which `wrangler deploy --config wrangler.ENVIRONMENT.json --env ENVIRONMENT` deploys. No secret stands in either.
//
// node edge-worker/configure.mjs ENVIRONMENT DEPLOYMENT_FILE OUTPUT_FILE

import { readFileSync, writeFileSync } from "node:fs";
import { argv, exit, stderr } from "node:process";
import { fileURLToPath } from "node:url";

import { experimental_readRawConfig as readRawConfig } from "wrangler";

const text = (value) => typeof value === "string" && /^[\x21-\x7e]+$/.test(value);

const uuid = (value) => text(value) && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);

/** An https:// address without credentials, query or fragment. */
const url = (value) => {
  const parsed = text(value) ? URL.parse(value) : null;
  return parsed?.protocol === "https:" && !parsed.username && !parsed.password && !/[?#@\\]/.test(value);
};

/** A public name: no port, no network address, no pattern. */
const host = (value) => text(value) && value.length <= 253
  && /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$/.test(value);

const origin = (value) => url(value) && URL.parse(value).origin === value;

/** A web page's, or that of an extension for Chromium, whose id is 32 letters from a to p. */
const caller = (value) => origin(value) || (text(value) && /^chrome-extension:\/\/[a-p]{32}$/.test(value));

/** Empty where only the edge's own page and Firefox's extension call: neither needs an entry. */
const origins = (value) => Array.isArray(value) && value.every(caller) && new Set(value).size === value.length;

const optional = (isGood) => (value) => value === undefined || isGood(value);

/** Each field of the file: what makes it good, and how it must be. */
const FIELDS = {
  edge_host: [host, "the host name of the edge in lower case, such as api.example.org"],
  core_service_id: [uuid, "the id of the Workers VPC service that leads to the core, a UUID"],
  oidc_issuer: [url, "exactly the `iss` of tokens, an https:// address without credentials, query or fragment"],
  oidc_audience: [text, "the client id that tokens are meant for, without spaces"],
  oidc_jwks_url: [url, "where the issuer's signing keys are, an https:// address without credentials, query or fragment"],
  cors_origins: [origins, "a list of different origins that may call, such as https://web.example.org"],
  // For the client.
  images_origin: [origin, "where profile images are uploaded to and shown from, an https:// origin"],
  sign_in_origin: [optional(origin), "where the issuer's sign-in page is, if not at the issuer's own, an https:// origin"],
};

/** What is wrong with a deployment's file, a line for each field. */
export const faults = (deployment) => {
  if (deployment === null || typeof deployment !== "object" || Array.isArray(deployment)) return ["it is no JSON object"];
  const known = Object.entries(FIELDS)
    .filter(([name, [isGood]]) => !isGood(deployment[name]))
    .map(([name, [, how]]) => `${name}: must be ${how}`);
  const unknown = Object.keys(deployment).filter((name) => !Object.hasOwn(FIELDS, name));
  return [...known, ...unknown.map((name) => `${name}: there is no such field`)];
};

/** The whole configuration with this environment filled in. */
export const configured = (config, environment, deployment) => {
  const filled = {
    ...config.env[environment],
    routes: [{ pattern: deployment.edge_host, custom_domain: true }],
    vpc_services: [{ binding: "CORE", service_id: deployment.core_service_id }],
    vars: {
      ...config.env[environment].vars,
      OIDC_ISSUER: deployment.oidc_issuer,
      OIDC_AUDIENCE: deployment.oidc_audience,
      OIDC_JWKS_URL: deployment.oidc_jwks_url,
      CORS_ORIGINS: deployment.cors_origins.join(","),
    },
  };
  return { ...config, env: { [environment]: filled } };
};

/** wrangler.toml as it is written. */
export const template = () =>
  readRawConfig({ config: fileURLToPath(new URL("../wrangler.toml", import.meta.url)) }).rawConfig;

const fail = (lines) => {
  stderr.write(`${lines.join("\n  ")}\n`);
  exit(1);
};

if (import.meta.filename === argv[1]) {
  const [environment, from, to] = argv.slice(2);
  const config = template();
  if (!Object.hasOwn(config.env, environment)) {
    fail([`there is no environment ${environment}; wrangler.toml has ${Object.keys(config.env).join(", ")}`]);
  }
  let deployment;
  try {
    deployment = JSON.parse(readFileSync(from, "utf8"));
  } catch (error) {
    fail([`${from} cannot be read: ${error.message}`]);
  }
  const wrong = faults(deployment);
  if (wrong.length > 0) fail([`${from}:`, ...wrong]);
  writeFileSync(to, `${JSON.stringify(configured(config, environment, deployment), null, 2)}\n`);
}
