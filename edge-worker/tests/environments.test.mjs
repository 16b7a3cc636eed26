// Environments as wrangler resolves them. It finds no fault with one that lacks what the worker reads, nor with one that
// records what it must not.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { unstable_readConfig as readConfig } from "wrangler";

import { faults } from "../configure.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "environments-"));
after(() => rmSync(folder, { recursive: true }));

const ENVIRONMENTS = ["staging", "production"];
const SECRETS = ["EVENT_SIGNING_SECRETS", "SERVICE_TOKEN_SECRET"];
// For tests only.
const NEVER = ["COUNT_WORK"];

const deployment = {
  edge_host: "api.example.org",
  core_service_id: "0199c2a0-0000-7000-8000-000000000000",
  oidc_issuer: "https://id.example.org/pool",
  oidc_audience: "client",
  oidc_jwks_url: "https://id.example.org/pool/keys",
  cors_origins: ["https://web.example.org", "https://admin.example.org"],
};

const run = (environment, content, to) => {
  const from = join(folder, "deployment.json");
  writeFileSync(from, typeof content === "string" ? content : JSON.stringify(content));
  return [join(root, "edge-worker/configure.mjs"), environment, from, to];
};

const resolved = (environment) => {
  const to = join(folder, `wrangler.${environment}.json`);
  execFileSync(execPath, run(environment, deployment, to));
  return readConfig({ config: to, env: environment }, { hideWarnings: true });
};

/** Every name that the worker reads from its environment, by its sources. */
const namesRead = () => {
  const folder = join(root, "edge-worker/src");
  const sources = readdirSync(folder).filter((name) => name.endsWith(".rs"));
  const text = sources.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
  const variables = [...text.matchAll(/\b(?:text|ms|variable)\((?:env, )?"([A-Z_]+)"/g)].map(([, name]) => name);
  const bindings = [...text.matchAll(/^pub const ([A-Z_]+): &str = "\1";$/gm)].map(([, name]) => name);
  return { variables: [...new Set(variables)], bindings };
};

test("the sources name what is known to be read", () => {
  const { variables, bindings } = namesRead();
  for (const name of [...SECRETS, ...NEVER, "CORE_URL", "OIDC_ISSUER", "CORS_ORIGINS", "PRESENCE_GRACE_MS"]) {
    assert.ok(variables.includes(name), name);
  }
  assert.deepEqual(bindings.toSorted(), ["CALLS_PER_USER", "CORE", "REQUESTS_PER_ADDRESS", "UPGRADES_PER_USER", "USERS"]);
});

for (const environment of ENVIRONMENTS) {
  test(`${environment} has everything that the worker reads, and nothing that is for tests`, () => {
    const config = resolved(environment);
    const { variables, bindings } = namesRead();
    const expected = variables.filter((name) => ![...SECRETS, ...NEVER].includes(name));
    assert.deepEqual(Object.keys(config.vars).toSorted(), expected.toSorted());
    const bound = [
      ...config.durable_objects.bindings.map(({ name }) => name),
      ...config.vpc_services.map(({ binding }) => binding),
      ...config.ratelimits.map(({ name }) => name),
    ];
    assert.deepEqual(bound.toSorted(), bindings.toSorted());
    assert.equal(config.vars.OIDC_ISSUER, deployment.oidc_issuer);
    assert.equal(config.vars.CORS_ORIGINS, "https://web.example.org,https://admin.example.org");
    assert.deepEqual(config.routes, [{ pattern: "api.example.org", custom_domain: true }]);
    assert.equal(config.name, `pagenow-edge-${environment}`);
    assert.equal(config.workers_dev, false);
    assert.equal(config.preview_urls, false);
  });

  test(`${environment} records no address, and no trace`, () => {
    const { observability } = resolved(environment);
    assert.equal(observability.enabled, true);
    assert.equal(observability.redact_query_string, true);
    assert.equal(observability.logs.enabled, true);
    assert.equal(observability.logs.invocation_logs, false);
    assert.equal(observability.traces.enabled, false);
  });
}

test("no two environments share a namespace of rate limits", () => {
  const all = [undefined, ...ENVIRONMENTS].map((env) => readConfig({ config: join(root, "wrangler.toml"), env }, { hideWarnings: true }));
  const ids = all.flatMap(({ ratelimits }) => ratelimits.map(({ namespace_id }) => namespace_id));
  assert.equal(new Set(ids).size, ids.length);
});

test("what is missing, wrong or unknown in the file is named", () => {
  assert.deepEqual(faults(deployment), []);
  const cases = [
    [{ ...deployment, edge_host: undefined }, "edge_host"],
    [{ ...deployment, edge_host: "https://api.example.org" }, "edge_host"],
    [{ ...deployment, edge_host: "API.example.org" }, "edge_host"],
    [{ ...deployment, edge_host: "api.example.org/path" }, "edge_host"],
    [{ ...deployment, core_service_id: "" }, "core_service_id"],
    [{ ...deployment, oidc_issuer: "http://id.example.org" }, "oidc_issuer"],
    [{ ...deployment, oidc_jwks_url: 7 }, "oidc_jwks_url"],
    [{ ...deployment, cors_origins: "https://web.example.org" }, "cors_origins"],
    [{ ...deployment, cors_origins: ["https://web.example.org/"] }, "cors_origins"],
    [{ ...deployment, secret: "x" }, "secret"],
    [[], "no JSON object"],
    [null, "no JSON object"],
  ];
  for (const [content, named] of cases) {
    const [fault, ...others] = faults(content);
    assert.ok(fault.includes(named), `${fault} does not name ${named}`);
    assert.deepEqual(others, []);
  }
});

test("the command names what is wrong and writes nothing", () => {
  const to = join(folder, "never.json");
  for (const [environment, content, named] of [
    ["production", { ...deployment, edge_host: "nowhere" }, "edge_host"],
    ["production", "{", "cannot be read"],
    ["prod", deployment, "staging, production"],
  ]) {
    const { status, stderr } = spawnSync(execPath, run(environment, content, to), { encoding: "utf8" });
    assert.equal(status, 1, stderr);
    assert.ok(stderr.includes(named), stderr);
    assert.throws(() => readFileSync(to));
  }
});
