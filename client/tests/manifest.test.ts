import { expect, test } from "vitest";

import { DEVELOPMENT_KEY, FIREFOX_ID, chromiumId, manifest, redirects } from "../manifest.mjs";

const site = { origin: "https://api.example.org", issuer: "https://id.example.org/us", images: "https://images.example.org", version: "1.2.3", firefoxId: FIREFOX_ID };

test("sign-in returns to the page, and to the address that each browser makes from the extension's id", () => {
  expect(redirects(site)).toEqual(["https://api.example.org/app/", "https://fed9ac370de0071ce353db9e1015109d2e4a8c53.extensions.allizom.org/"]);
  expect(redirects({ ...site, key: DEVELOPMENT_KEY })[1]).toMatch(/^https:\/\/[a-p]{32}\.chromiumapp\.org\/$/);
});

test("Chromium's id is made of the key as Chromium makes it", () => {
  // Any bytes can stand for the key. SHA-256 of "abc" begins ba7816bf 8f01cfea 414140de 5dae2223.
  expect(chromiumId(btoa("abc"))).toBe("lkhibglpipabmpokebebeanofnkocccd");
});

test("a publisher's own id is the one in Firefox, and only the servers of the deployment can be reached", () => {
  const made = manifest("firefox", { ...site, firefoxId: "us@example.org" });
  const { content_security_policy, permissions } = made;
  expect("browser_specific_settings" in made && made.browser_specific_settings.gecko.id).toBe("us@example.org");
  expect(content_security_policy.extension_pages).toContain(
    "connect-src 'self' https://api.example.org wss://api.example.org https://id.example.org https://images.example.org;",
  );
  expect(permissions).toEqual(["alarms", "identity", "idle", "storage"]);
});
