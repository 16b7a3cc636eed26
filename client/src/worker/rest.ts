/** The client of the REST API. */

import { type GenericSchema, safeParse } from "valibot";

import type { Problem } from "../generated/types";
import type { Failure } from "../scene";

/** How long the server may take to answer. Then the call fails as "offline". */
const ANSWER_WITHIN_MS = 20_000;

type Method = "GET" | "POST" | "PUT" | "DELETE";
/** Method and path as in `/openapi.json`, with parameters in braces. */
export type Operation = `${Method} /${string}`;

export interface Call {
  /** The values of the parameters in the path. */
  readonly path?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Why a call or an action failed. */
export class FailureError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.why);
  }
}

export class Rest {
  constructor(
    private readonly origin: string,
    private readonly token: () => Promise<string>,
    /** Replaces the token, which the server does not accept. */
    private readonly renew: () => Promise<unknown>,
    /** The number of sign-outs so far. */
    private readonly signOuts: () => number,
  ) {}

  /** Calls, and checks the answer's JSON against the contract. An answer in another form fails like no answer ("offline"). */
  async call<T>(form: GenericSchema<unknown, T>, operation: Operation, call: Call = {}): Promise<T> {
    const response = await this.fetch(operation, call);
    const { success, output } = safeParse(form, await response.json().catch(() => undefined));
    if (!success) throw new FailureError({ why: "offline" });
    return output;
  }

  /** Calls without reading the answer's body. */
  async fetch(operation: Operation, call: Call = {}): Promise<Response> {
    const person = this.signOuts();
    const response = await this.#answer(operation, call);
    // The person who asked has signed out in the meantime.
    if (person !== this.signOuts()) throw new FailureError({ why: "signed-out" });
    return response;
  }

  async #answer(operation: Operation, call: Call): Promise<Response> {
    let response = await this.#send(operation, call);
    if (response.status === 401) {
      // The clocks may differ, or the provider may have replaced its key. A new token may be accepted.
      await this.renew();
      response = await this.#send(operation, call);
    }
    if (!response.ok) throw new FailureError(await failureOf(response));
    return response;
  }

  async #send(operation: Operation, { path = {}, query = {}, body, headers = {} }: Call): Promise<Response> {
    const [method, template] = operation.split(" ") as [Method, string];
    const url = new URL(this.origin + template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? "")));
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    const token = await this.token();
    try {
      return await fetch(url, {
        method,
        headers: { Authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      });
    } catch {
      throw new FailureError({ why: "offline" });
    }
  }
}

async function failureOf(response: Response): Promise<Failure> {
  const { status } = response;
  const problem: Partial<Problem> = await response.json().catch(() => ({}));
  const why = status === 401 ? "signed-out" : status >= 500 ? "offline" : "refused";
  return {
    why,
    status,
    ...(typeof problem.detail === "string" ? { detail: problem.detail } : {}),
    ...(Array.isArray(problem.errors) ? { fields: problem.errors } : {}),
  };
}
