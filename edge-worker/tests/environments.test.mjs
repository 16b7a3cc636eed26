// The environments as wrangler resolves them. Wrangler reports no error if one lacks what the worker reads, or records what it
// must not. So these tests check it.

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
// These variables are only for tests.
const NEVER = ["COUNT_WORK"];

// Methods, algorithms and the like. They are spelled like variables, and are none.
const OTHER_NAMES = [
  "C", "CONNECT", "DELETE", "GET", "HEAD", "HMAC", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "TRACK",
];

const deployment = {
  edge_host: "api.example.org",
  core_service_id: "0199c2a0-0000-7000-8000-000000000000",
  oidc_issuer: "https://id.example.org/pool",
  oidc_audience: "client",
  oidc_jwks_url: "https://id.example.org/pool/keys",
  cors_origins: ["https://web.example.org", "https://admin.example.org"],
  images_origin: "https://images.s3.eu-central-1.amazonaws.com",
  sign_in_origin: "https://pagenow.auth.eu-central-1.amazoncognito.com",
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

/**
 * Every name that the worker reads from its environment, found in its sources: each text that is spelled like such a name. Other
 * texts with that spelling are in OTHER_NAMES.
 */
const namesRead = () => {
  const folder = join(root, "edge-worker/src");
  const sources = readdirSync(folder, { recursive: true }).filter((name) => /\.(rs|mjs)$/.test(name));
  const text = [...sources.map((name) => join(folder, name)), join(root, "edge-worker/entry.mjs")]
    .map((path) => readFileSync(path, "utf8").replace(/^\s*(\/\/|\*).*$/gm, "")).join("\n");
  const names = [...text.matchAll(/(["'`])([A-Z][A-Z0-9_]*)\1/g)].map(([, , name]) => name);
  const members = [...text.matchAll(/\benv\??\.([A-Z][A-Z0-9_]*)\b/g)].map(([, name]) => name);
  const all = new Set([...names, ...members].filter((name) => !OTHER_NAMES.includes(name)));
  const bindings = [...text.matchAll(/^pub const ([A-Z_]+): &str = "\1";$/gm)].map(([, name]) => name);
  return { variables: [...all].filter((name) => !bindings.includes(name)), bindings };
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
  assert.deepEqual(faults({ ...deployment, sign_in_origin: undefined }), []);
  const wrong = {
    edge_host: [
      undefined, 7, "", "nowhere", "https://api.example.org", "API.example.org", "api.example.org/path", "api.example.org:8443",
      "192.0.2.7", "192.0.2.7.", "[2001:db8::1]", "*.example.org", "api..example.org", "-api.example.org", "api.example.org.",
      " api.example.org", "api_1.example.org", `${"a".repeat(64)}.example.org`,
    ],
    core_service_id: [undefined, "", "core", "0199c2a0", "0199c2a0-0000-7000-8000-00000000000g", " 0199c2a0-0000-7000-8000-000000000000"],
    oidc_issuer: [
      undefined, "http://id.example.org", "https://", "https://id.example.org/ pool", "https://id.example.org/pool ",
      "https://user:secret@id.example.org", "https://@id.example.org", "https://id.example.org/?a=b", "https://id.example.org/#a",
      "https:\\\\id.example.org",
    ],
    oidc_audience: [undefined, "", "a client", "client\n"],
    oidc_jwks_url: [7, "keys", "http://id.example.org/keys", "https://user@id.example.org/keys"],
    cors_origins: [
      undefined, null, "https://web.example.org", [""], ["https://web.example.org/"], ["http://web.example.org"], ["*"], ["null"],
      ["https://web.example.org", "https://web.example.org"], ["https://a.example.org,https://b.example.org"],
      ["chrome-extension://short"], [7],
    ],
    images_origin: [undefined, "https://images.example.org/bucket", "http://images.example.org", `chrome-extension://${"a".repeat(32)}`],
    sign_in_origin: ["http://id.example.org", "https://id.example.org/"],
  };
  const cases = Object.entries(wrong).flatMap(([field, values]) => values.map((value) => [{ ...deployment, [field]: value }, field]));
  cases.push([{ ...deployment, secret: "x" }, "secret"], [{ ...deployment, constructor: "x" }, "constructor"]);
  cases.push([[], "no JSON object"], [null, "no JSON object"]);
  for (const [content, named] of cases) {
    const [fault, ...others] = faults(content);
    assert.ok(fault.includes(named), `${fault} does not name ${named}`);
    assert.deepEqual(others, []);
  }
});

test("what deployments are made of is taken", () => {
  const right = {
    edge_host: ["api.example.org", "a.bc", "xn--bcher-kva.example", "1and1.example.co.uk"],
    oidc_issuer: ["https://id.example.org", "https://id.example.org/", "https://id.example.org:8443/realms/pagenow"],
    cors_origins: [[], ["https://web.example.org:8443"], [`chrome-extension://${"abcdefghijklmnop".repeat(2)}`, "https://web.example.org"]],
  };
  for (const [field, values] of Object.entries(right)) {
    for (const value of values) assert.deepEqual(faults({ ...deployment, [field]: value }), [], String(value));
  }
});

test("the command names what is wrong and writes nothing", () => {
  const to = join(folder, "never.json");
  for (const [environment, content, named] of [
    ["production", { ...deployment, edge_host: "nowhere" }, "edge_host"],
    ["production", "{", "cannot be read"],
    ["prod", deployment, "staging, production"],
    ["constructor", deployment, "staging, production"],
  ]) {
    const { status, stderr } = spawnSync(execPath, run(environment, content, to), { encoding: "utf8" });
    assert.equal(status, 1, stderr);
    assert.ok(stderr.includes(named), stderr);
    assert.throws(() => readFileSync(to));
  }
});
