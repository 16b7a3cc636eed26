// The manifests of the extension. All differences between browsers are here and in src/browser.ts.

import { createHash } from "node:crypto";

/** A public key for extensions of a system on this machine. It only fixes the extension's id in Chromium. */
export const DEVELOPMENT_KEY =
  "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwbHsvtNXWo0RwyqqWOKKaT1tF2dlcFu7CXtxO8lWyixZHqAxwLf15AcqHvy/yT/KqguAhqkiJ9XEv3sl5rPebPyzQhZeyU+myCSSaaz+GT8OCDakIdI3U3ozcSOCqS+9/NYG0PQ8yt2chFwB8eDJ16YQ5DShjQaQXBcUecMS/ajIcZDHS+om3thDmt2ZOsvr8gIVBnvUf1NRn5hChKY2qPL3qjHe3KlCHCRryj67z2xNezbMLvRbiORLgIjzk97A4+qt8tM2we2es7L3eXGoWhlDRi1IuijHjbYhI0YX+OnlqtKgnJJ9V702KPG3cbLDSHUzTM4yxIfNyC+07picjQIDAQAB";

/** The extension's id in Firefox. Mozilla's store gives an id to one publisher only, so other publishers need their own. */
export const FIREFOX_ID = "pagenow@pagenow.app";

const digest = (kind, data) => createHash(kind).update(data).digest("hex");

/** The id that Chromium makes of a manifest's key: the first half of its hash, each digit as a letter from a to p. */
export const chromiumId = (key) =>
  Array.from(digest("sha256", Buffer.from(key, "base64")).slice(0, 32), (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16))).join("");

/**
 * The addresses that sign-in returns to: the page, and the extension in each browser. A browser makes the extension's address
 * from its id. The id in Chromium is known only if a key fixes it; else the store assigns one.
 *
 * @param {{ origin: string, key?: string | undefined, firefoxId: string }} site
 */
export function redirects({ origin, key, firefoxId }) {
  return [
    `${origin}/app/`,
    ...(key ? [`https://${chromiumId(key)}.chromiumapp.org/`] : []),
    `https://${digest("sha1", firefoxId)}.extensions.allizom.org/`,
  ];
}

/**
 * @param {"chromium" | "firefox"} browser
 * @param {{ origin: string, issuer: string, signIn?: string, images: string, key?: string, firefoxId?: string, version: string }} site
 */
export function manifest(browser, site) {
  const origin = (address) => new URL(address).origin;
  const connect = [origin(site.origin), origin(site.origin).replace(/^http/, "ws"), origin(site.issuer), origin(site.images)];
  if (site.signIn) connect.push(origin(site.signIn));
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    // Notifications fetch their icon from the package.
    `connect-src 'self' ${[...new Set(connect)].join(" ")}`,
    `img-src 'self' data: blob: ${origin(site.images)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  const icons = { 16: "icons/16.png", 32: "icons/32.png", 48: "icons/48.png", 128: "icons/128.png" };
  const common = {
    manifest_version: 3,
    name: "__MSG_name__",
    description: "__MSG_description__",
    version: site.version,
    default_locale: "en",
    icons,
    action: { default_popup: "popup.html", default_title: "__MSG_name__", default_icon: icons },
    // No host permissions and no content scripts: the extension cannot read a page.
    permissions: ["alarms", "identity", "idle", "storage"],
    // Requested when the person decides to share ("tabs"), and when they switch notifications on.
    optional_permissions: ["tabs", "notifications"],
    incognito: "not_allowed",
    commands: { pause: { suggested_key: { default: "Alt+Shift+P" }, description: "__MSG_pause__" } },
    content_security_policy: { extension_pages: policy.join("; ") },
  };
  if (browser === "firefox") {
    return {
      ...common,
      background: { scripts: ["background.js"], type: "module" },
      sidebar_action: { default_panel: "panel.html", default_title: "__MSG_name__", default_icon: icons, open_at_install: false },
      browser_specific_settings: {
        gecko: {
          id: site.firefoxId || FIREFOX_ID,
          strict_min_version: "140.0",
          data_collection_permissions: {
            required: ["authenticationInfo", "browsingActivity", "personallyIdentifyingInfo", "websiteContent"],
          },
        },
      },
    };
  }
  return {
    ...common,
    ...(site.key ? { key: site.key } : {}),
    minimum_chrome_version: "123",
    permissions: [...common.permissions, "sidePanel"].sort(),
    background: { service_worker: "background.js", type: "module" },
    side_panel: { default_path: "panel.html" },
  };
}
