// The certificates that go into the core's image.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { execFileSync } from "node:child_process";
import { execPath } from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("Amazon's authorities are written as PEM, each once", () => {
  const pem = execFileSync(execPath, [fileURLToPath(new URL("../rds-certificates.mjs", import.meta.url))], { encoding: "utf8" });
  const authorities = pem.split(/(?<=-----END CERTIFICATE-----)\n/).filter((one) => one !== "").map((one) => new X509Certificate(one));
  assert.ok(authorities.length > 100);
  assert.equal(new Set(authorities.map((one) => one.fingerprint256)).size, authorities.length);
  for (const one of authorities) assert.ok(one.ca, one.subject);
  const valid = authorities.filter((one) => one.validToDate > new Date());
  assert.ok(valid.some((one) => one.subject.includes("RDS eu-central-1 Root CA RSA2048 G1")));
});
