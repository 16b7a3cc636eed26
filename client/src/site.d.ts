/**
 * Constants of the system that this client is built for. The build replaces each name with its value, so code for other surfaces
 * is removed from the bundle.
 */
declare const SITE: {
  /** The system's one public origin, without a slash at its end. */
  readonly origin: string;
  /** Exactly the `iss` claim of its tokens. */
  readonly issuer: string;
  readonly clientId: string;
  /** Where the bundle runs. */
  readonly surface: "page" | "chromium" | "firefox";
};
