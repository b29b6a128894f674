/** Users and passwords as URLs and headers write them. */

/** A part of a URL without its escapes. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    // Not escaped the way URLs are: then it stands for itself.
    if (!(error instanceof URIError)) throw error;
    return text;
  }
}

/** `Authorization` of a user with a password. */
export function basicAuth(user: string, password: string): string {
  return "Basic " + new TextEncoder().encode(`${user}:${password}`).toBase64();
}
