/**
 * Requests over TLS without a look at the certificate, for servers that the user calls insecure:
 * the runtime's own fetch has no switch for it.
 */

import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { bareHost } from "./bare_host.ts";
import { basicAuth, decoded } from "./credentials.ts";
import { environmentProxy, variableOf } from "./environment_proxy.ts";

/** One request. */
export interface UnverifiedRequest {
  /** Method. */
  readonly method: string;
  /** Headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** Body. */
  readonly body?: Uint8Array<ArrayBuffer> | string | undefined;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Certificate chain and key (PEM) to show. */
  readonly clientCert?: { readonly cert: string; readonly key: string } | undefined;
  /** Proxy, in place of what the environment says. */
  readonly proxy?: URL | undefined;
}

/** Statuses of answers that cannot have a body. */
const BODILESS: readonly number[] = [204, 205, 304];

/**
 * Sends one request; redirects are not followed.
 *
 * @throws {TypeError} when there is no answer
 */
export async function fetchUnverified(url: URL, options: UnverifiedRequest): Promise<Response> {
  // Loaded on use: it takes longer than many a program that never needs it.
  const { request } = await import("node:https");
  const { method, headers, body, signal, clientCert } = options;
  const proxy = options.proxy ?? environmentProxy(url, variableOf);
  const through = proxy === undefined ? undefined : await tunnel(url, proxy, options);
  return await new Promise((resolve, reject) => {
    const failed = (cause: Error) => {
      through?.destroy();
      reject(failure(cause, signal));
    };
    const sent = request(url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": sizeOf(body) }) },
      rejectUnauthorized: false,
      signal,
      ...clientCert,
      // With an agent of its own it would not ask for our connection.
      ...(through === undefined ? { agent: false } : { createConnection: () => through }),
    }, (answer) => {
      const own = new Headers();
      for (const [name, value] of Object.entries(answer.headers)) {
        for (const one of [value ?? []].flat()) own.append(name, one);
      }
      const status = answer.statusCode ?? 0;
      if (status < 200 || status > 599) return failed(new TypeError(`Status ${status}`));
      const empty = BODILESS.includes(status) || method === "HEAD";
      if (empty) answer.resume();
      const stream = empty ? null : bodyOf(answer, signal);
      const statusText = (answer.statusMessage ?? "").replace(/[^\x20-\x7e]/g, "");
      resolve(new Response(stream, { status, statusText, headers: own }));
    });
    sent.on("error", failed);
    sent.end(body);
  });
}

/** Why there is no answer, in the way the runtime's own fetch tells it. */
function failure(cause: Error, signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : new TypeError(cause.message, { cause });
}

/** A body; what ends it early is told as the runtime's own fetch does. */
function bodyOf(
  answer: IncomingMessage,
  signal: AbortSignal,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = answer[Symbol.asyncIterator]() as AsyncIterator<Uint8Array<ArrayBuffer>>;
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (cause) {
        throw failure(cause as Error, signal);
      }
    },
    cancel: () => void answer.destroy(),
  }, { highWaterMark: 0 });
}

/** A TLS connection to the host of a URL by way of a proxy. */
async function tunnel(
  url: URL,
  proxy: URL,
  { signal, clientCert }: UnverifiedRequest,
): Promise<TLSSocket> {
  const [{ request }, { connect }] = await Promise.all([import("node:http"), import("node:tls")]);
  const host = bareHost(url);
  const target = `${url.hostname}:${url.port || "443"}`;
  const login = proxy.username === ""
    ? {}
    : { "proxy-authorization": basicAuth(decoded(proxy.username), decoded(proxy.password)) };
  return await new Promise((resolve, reject) => {
    const failed = (cause: Error) => reject(failure(cause, signal));
    const asked = request({
      host: bareHost(proxy),
      port: proxy.port || "80",
      method: "CONNECT",
      path: target,
      headers: { host: target, ...login },
      signal,
    });
    asked.on("error", failed);
    asked.on("response", ({ statusCode }) => {
      asked.destroy();
      failed(new TypeError(`The proxy answers with status ${statusCode}`));
    });
    asked.on("connect", ({ statusCode }, socket) => {
      if (statusCode !== 200) {
        socket.destroy();
        return failed(new TypeError(`The proxy answers with status ${statusCode}`));
      }
      const named = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
      const secured = connect({ socket, rejectUnauthorized: false, ...named, ...clientCert });
      // The request is over, so its signal does nothing for the handshake.
      const ended = () => {
        secured.destroy();
        reject(signal.reason);
      };
      signal.addEventListener("abort", ended, { once: true });
      secured.on("error", failed);
      secured.on("secureConnect", () => {
        signal.removeEventListener("abort", ended);
        resolve(secured);
      });
    });
    asked.end();
  });
}

function sizeOf(body: Uint8Array | string): number {
  return typeof body === "string" ? new TextEncoder().encode(body).length : body.length;
}
