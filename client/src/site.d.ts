/**
 * What the build says of the system that this client is for. Names are replaced by their values, so that what another surface
 * needs is not in the bundle.
 */
declare const SITE: {
  /** The system's one public origin, without a slash at its end. */
  readonly origin: string;
  /** Exactly the `iss` of its tokens. */
  readonly issuer: string;
  readonly clientId: string;
  /** Where the bundle runs. */
  readonly surface: "page" | "chromium" | "firefox";
};
