/** What the build says of the system that this client is for. */
declare const SITE: {
  /** The system's one public origin, without a slash at its end. */
  readonly origin: string;
  /** Exactly the `iss` of its tokens. */
  readonly issuer: string;
  readonly clientId: string;
  /** Where this bundle runs. */
  readonly surface: "page" | "chromium" | "firefox";
};

export const ORIGIN = SITE.origin;
export const ISSUER = SITE.issuer;
export const CLIENT_ID = SITE.clientId;
export const SURFACE = SITE.surface;
