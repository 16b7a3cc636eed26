// Writes the configuration of the edge for one deployment. wrangler.toml and a JSON file with the values of the deployment become
// wrangler.ENVIRONMENT.json. `wrangler deploy --config wrangler.ENVIRONMENT.json --env ENVIRONMENT` deploys it. Neither file
// holds a secret.
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

/** A public host name in lower case: no port, no IP address, no wildcard. */
const host = (value) => text(value) && value.length <= 253
  && /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$/.test(value);

const origin = (value) => url(value) && URL.parse(value).origin === value;

/** The origin of a web page, or of a Chromium extension, whose id is 32 letters from a to p. */
const caller = (value) => origin(value) || (text(value) && /^chrome-extension:\/\/[a-p]{32}$/.test(value));

/** A list of different origins. It may be empty: the edge's own page and the Firefox extension need no entry. */
const origins = (value) => Array.isArray(value) && value.every(caller) && new Set(value).size === value.length;

const optional = (isGood) => (value) => value === undefined || isGood(value);

/** Each field of the file: a check of its value, and a description of a valid value. */
const FIELDS = {
  edge_host: [host, "the host name of the edge in lower case, such as api.example.org"],
  core_service_id: [uuid, "the id of the Workers VPC service that leads to the core, a UUID"],
  oidc_issuer: [url, "exactly the `iss` of tokens, an https:// address without credentials, query or fragment"],
  oidc_audience: [text, "the client id that tokens are meant for, without spaces"],
  oidc_jwks_url: [url, "where the issuer's signing keys are, an https:// address without credentials, query or fragment"],
  cors_origins: [origins, "a list of different origins that may call, such as https://web.example.org"],
  // These two are for the client.
  images_origin: [origin, "where profile images are uploaded to and shown from, an https:// origin"],
  sign_in_origin: [optional(origin), "where the issuer's sign-in page is, if not at the issuer's own, an https:// origin"],
};

/** The faults of a deployment's file, one line for each field. */
export const faults = (deployment) => {
  if (deployment === null || typeof deployment !== "object" || Array.isArray(deployment)) return ["it is no JSON object"];
  const known = Object.entries(FIELDS)
    .filter(([name, [isGood]]) => !isGood(deployment[name]))
    .map(([name, [, how]]) => `${name}: must be ${how}`);
  const unknown = Object.keys(deployment).filter((name) => !Object.hasOwn(FIELDS, name));
  return [...known, ...unknown.map((name) => `${name}: there is no such field`)];
};

/** The configuration of wrangler with the deployment's values, for this environment alone. */
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

/** The content of wrangler.toml. */
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
