/**
 * Requests over TLS without a look at the certificate, for servers that the user calls insecure:
 * the runtime's own fetch has no switch for it.
 */

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
  const [{ request }, { Readable }] = await Promise.all([
    import("node:https"),
    import("node:stream"),
  ]);
  const { method, headers, body, signal, clientCert } = options;
  return await new Promise((resolve, reject) => {
    const failed = (cause: Error) => {
      reject(signal.aborted ? signal.reason : new TypeError(cause.message, { cause }));
    };
    const sent = request(url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": sizeOf(body) }) },
      rejectUnauthorized: false,
      agent: false,
      signal,
      ...clientCert,
    }, (answer) => {
      const own = new Headers();
      for (const [name, value] of Object.entries(answer.headers)) {
        for (const one of [value ?? []].flat()) own.append(name, one);
      }
      const status = answer.statusCode ?? 0;
      if (status < 200 || status > 599) return failed(new TypeError(`Status ${status}`));
      const empty = BODILESS.includes(status) || method === "HEAD";
      if (empty) answer.resume();
      const stream = empty ? null : Readable.toWeb(answer) as unknown as ReadableStream<Uint8Array>;
      const statusText = (answer.statusMessage ?? "").replace(/[^\x20-\x7e]/g, "");
      resolve(
        new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>> | null, {
          status,
          statusText,
          headers: own,
        }),
      );
    });
    sent.on("error", failed);
    sent.end(body);
  });
}

function sizeOf(body: Uint8Array | string): number {
  return typeof body === "string" ? new TextEncoder().encode(body).length : body.length;
}
