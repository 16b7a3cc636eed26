/**
 * The session of the person who is signed in: tokens by the authorization code flow of OpenID Connect. Only the worker has them.
 *
 * PKCE binds the code to this client, so no nonce is needed (RFC 9700, section 2.1.1).
 */

import * as oauth from "oauth4webapi";

import type { Moment } from "../scene";
import type { Storage } from "./storage";

export interface Tokens {
  /** The ID token, which every call carries. */
  readonly idToken: string;
  readonly refreshToken: string | null;
  /** From when on the ID token is replaced. If that fails, it is used until `expiresAt`. */
  readonly renewAt: Moment;
  readonly expiresAt: Moment;
}

/** A sign-in that was begun and has not returned yet. Each of several tabs may begin one. */
export interface Pending {
  readonly verifier: string;
  readonly state: string;
  readonly redirect: string;
}

/** Why there is no token. */
export class SessionError extends Error {
  /**
   * `ended`: no person is signed in, or the provider has ended the session. `unreachable`: the provider did not answer in time,
   * or failed.
   * `refused`: the provider or the person said no.
   */
  constructor(readonly why: "ended" | "unreachable" | "refused") {
    super(why);
  }
}

/** How long the provider may take to answer. Without a limit, sign-in would hang with a provider that hangs. */
const PROVIDER_WITHIN_MS = 10_000;
/** How long before its end a token is replaced. A token with a life of less than twice that is replaced at half of its life. */
export const RENEW_BEFORE_MS = 300_000;
/** How far the provider's clock may be from this one, in seconds. */
const CLOCKS_APART_S = 300;
/** How many sign-ins that were begun are remembered. */
const PENDING_MAX = 5;
const LOCK = "pagenow-tokens";

export class Session {
  #server: oauth.AuthorizationServer | undefined;
  /**
   * The running refresh. There is one at a time: a provider may treat a second one as theft of the token, and end the session.
   */
  #renewing: Promise<Tokens> | undefined;
  readonly #issuer: URL;
  readonly #client: oauth.Client;

  constructor(
    private readonly storage: Storage,
    issuer: string,
    clientId: string,
    /** Called with each token that replaced another. */
    private readonly renewed: (token: string) => void,
  ) {
    this.#issuer = new URL(issuer);
    this.#client = { client_id: clientId, [oauth.clockTolerance]: CLOCKS_APART_S };
  }

  /** Whether somebody is signed in. */
  async isOpen(): Promise<boolean> {
    return (await this.storage.get("tokens")) !== undefined;
  }

  /** Begins a sign-in. The result is the address of the provider's page. */
  async begin(redirect: string): Promise<string> {
    const server = await this.#discover();
    if (server.authorization_endpoint === undefined) throw new SessionError("unreachable");
    const pending: Pending = {
      verifier: oauth.generateRandomCodeVerifier(),
      state: oauth.generateRandomState(),
      redirect,
    };
    const others = (await this.storage.get("pending")) ?? [];
    await this.storage.set("pending", [...others, pending].slice(-PENDING_MAX));
    const url = new URL(server.authorization_endpoint);
    const parameters = {
      response_type: "code",
      client_id: this.#client.client_id,
      redirect_uri: redirect,
      scope: "openid email",
      state: pending.state,
      code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: "S256",
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return url.href;
  }

  /** Completes a sign-in that was begun here. `returned` is the address that the provider sent the browser back to. */
  async finish(returned: string): Promise<void> {
    const url = new URL(returned);
    const begun = (await this.storage.get("pending")) ?? [];
    const pending = begun.find(({ state }) => state === url.searchParams.get("state"));
    if (pending === undefined) throw new SessionError("refused");
    await this.storage.set("pending", begun.filter((other) => other !== pending));
    const server = await this.#discover();
    await this.#exchange(async () => {
      const parameters = oauth.validateAuthResponse(server, this.#client, url, pending.state);
      const response = await oauth.authorizationCodeGrantRequest(
        server, this.#client, oauth.None(), parameters, pending.redirect, pending.verifier, this.#options(),
      );
      return oauth.processAuthorizationCodeResponse(server, this.#client, response, { requireIdToken: true });
    });
  }

  /** The ID token. It is replaced first if it is about to expire. */
  async token(): Promise<string> {
    const tokens = await this.storage.get("tokens");
    if (tokens === undefined) throw new SessionError("ended");
    if (Date.now() < tokens.renewAt) return tokens.idToken;
    try {
      return (await this.renew(tokens)).idToken;
    } catch (error) {
      // If the provider is away, the old token is used until it expires.
      if (error instanceof SessionError && error.why !== "ended" && Date.now() < tokens.expiresAt) return tokens.idToken;
      throw error;
    }
  }

  /** Replaces the token. Calls during a refresh get the result of that refresh. */
  renew(old?: Tokens): Promise<Tokens> {
    this.#renewing ??= navigator.locks
      .request(LOCK, () => this.#refresh(old))
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  async #refresh(old: Tokens | undefined): Promise<Tokens> {
    const tokens = await this.storage.get("tokens");
    if (tokens === undefined) throw new SessionError("ended");
    // Another context has replaced the token while this one waited for the lock.
    if (old !== undefined && old.idToken !== tokens.idToken) return tokens;
    const { refreshToken } = tokens;
    if (refreshToken === null) throw await this.#forget();
    const server = await this.#discover();
    try {
      const fresh = await this.#exchange(async () => {
        const response = await oauth.refreshTokenGrantRequest(
          server, this.#client, oauth.None(), refreshToken, this.#options(),
        );
        return oauth.processRefreshTokenResponse(server, this.#client, response);
      }, refreshToken);
      this.renewed(fresh.idToken);
      return fresh;
    } catch (error) {
      if (error instanceof SessionError && error.why === "refused") throw await this.#forget();
      throw error;
    }
  }

  async #forget(): Promise<SessionError> {
    await this.storage.remove("tokens");
    return new SessionError("ended");
  }

  /**
   * Signs out, and revokes the refresh token. The result is the address that ends the provider's own session, or null if none is
   * known.
   */
  async end(returnTo: string): Promise<string | null> {
    const before = await this.storage.get("tokens");
    // Removed at once, because the worker may end while it waits for the provider.
    await this.storage.remove("tokens", "pending");
    // A refresh may have been running. It has ended when this gets the lock, and may have stored newer tokens.
    const tokens = await navigator.locks.request(LOCK, async () => {
      const newer = await this.storage.get("tokens");
      await this.storage.remove("tokens");
      return newer ?? before;
    });
    if (tokens === undefined) return null;
    try {
      const server = await this.#discover();
      if (tokens.refreshToken !== null && server.revocation_endpoint !== undefined) await this.#revoke(server, tokens.refreshToken);
      if (server.end_session_endpoint === undefined) return null;
      const url = new URL(server.end_session_endpoint);
      const parameters = {
        id_token_hint: tokens.idToken,
        client_id: this.#client.client_id,
        post_logout_redirect_uri: returnTo,
        // Cognito's name of `post_logout_redirect_uri`.
        logout_uri: returnTo,
      };
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    } catch {
      // The tokens are removed, so the person is signed out here. This client can do no more.
      return null;
    }
  }

  async #revoke(server: oauth.AuthorizationServer, refreshToken: string): Promise<void> {
    try {
      const response = await oauth.revocationRequest(server, this.#client, oauth.None(), refreshToken, this.#options());
      await oauth.processRevocationResponse(response);
    } catch {
      // The provider's own session can still be ended.
    }
  }

  async #discover(): Promise<oauth.AuthorizationServer> {
    if (this.#server !== undefined) return this.#server;
    try {
      const response = await oauth.discoveryRequest(this.#issuer, this.#options());
      this.#server = await oauth.processDiscoveryResponse(this.#issuer, response);
      return this.#server;
    } catch {
      throw new SessionError("unreachable");
    }
  }

  async #exchange(request: () => Promise<oauth.TokenEndpointResponse>, refreshToken: string | null = null): Promise<Tokens> {
    let answer: oauth.TokenEndpointResponse;
    try {
      answer = await request();
    } catch (error) {
      // Other errors may be temporary, for example if the provider was asked too often (RFC 6749, section 5.2).
      const noGrant = error instanceof oauth.ResponseBodyError && error.error === "invalid_grant";
      throw new SessionError(noGrant || error instanceof oauth.AuthorizationResponseError ? "refused" : "unreachable");
    }
    const claims = oauth.getValidatedIdTokenClaims(answer);
    if (answer.id_token === undefined || claims === undefined) {
      // A provider may leave the ID token out of a refresh (OpenID Connect Core 1.0, section 12.2). Then only a new sign-in gives one.
      throw new SessionError(refreshToken === null ? "unreachable" : "refused");
    }
    // Computed from this device's clock and the token's life, so that a wrong clock does no harm.
    const [now, life] = [Date.now(), (claims.exp - claims.iat) * 1_000];
    const tokens: Tokens = {
      idToken: answer.id_token,
      // Some providers issue a new refresh token at each use.
      refreshToken: answer.refresh_token ?? refreshToken,
      renewAt: now + life - Math.min(RENEW_BEFORE_MS, life / 2),
      expiresAt: now + life,
    };
    await this.storage.set("tokens", tokens);
    return tokens;
  }

  #options() {
    return {
      signal: () => AbortSignal.timeout(PROVIDER_WITHIN_MS),
      // Plain HTTP is allowed only if the issuer is configured with it, as in development.
      [oauth.allowInsecureRequests]: this.#issuer.protocol === "http:",
    };
  }
}
