import assert from "node:assert/strict";
import { loadNative } from "../helpers/native.ts";
import { type CaseRow, judge } from "./_cases.ts";
import { readFixture } from "./_fixtures.ts";

loadNative();

const { cases } = readFixture<{ cases: CaseRow[] }>("cases.json");

/** Rows in which ours is another verdict, and why. */
const OURS: Readonly<Record<string, RegExp>> = {
  "gpg-unknown-format-then-good": /what cannot be read spoils nothing/,
  "gpg-index-only": /the index's signature counts/,
  "cosign-index": /the index's signature counts/,
  "cosign-attachments-off": /attachments are looked at unless that is forbidden/,
};

/** What the reasons must say where the reference's words are not in the table, or not kept. */
const REASONS: Readonly<Record<string, RegExp>> = {
  "gpg-unknown-key": /^Invalid GPG signature: .*public key not found/,
  "gpg-both-required-one": /^Invalid GPG signature: .*public key not found/,
  "gpg-two-bad": /^None of the signatures were accepted, reasons: Invalid GPG signature: .*; /,
  "gpg-expired-key": /^Invalid GPG signature: .*Key expired/,
  "gpg-expired-signature": /^Invalid GPG signature: .*Signature expired/,
  "gpg-revoked-key": /^Invalid GPG signature: .*Key revoked/,
  "gpg-gap": /^Invalid GPG signature: .*public key not found/,
  "gpg-flipped": /^Invalid GPG signature: .*BAD signature/,
  "gpg-sha1": /^Invalid GPG signature: .*SHA1/,
  "gpg-timestamp-float": /^Field optional\.timestamp is not an integer/,
  "gpg-optional-null": /^JSON object expected, got null/,
  "gpg-optional-creator-number": /^string expected, got number/,
  "gpg-armored": /unrecognized signature format, starting with binary 0x2d/,
  "gpg-cleartext": /unrecognized signature format, starting with binary 0x2d/,
  "gpg-unknown-format": /unrecognized signature format "?/,
  "cosign-rsa-pss": /^cryptographic signature verification failed/,
  "cosign-unknown-key": /^cryptographic signature verification failed/,
  "cosign-two-bad": /^None of the signatures were accepted, reasons: cryptographic .*; crypto/,
  "cosign-tampered-payload": /^cryptographic signature verification failed/,
  "cosign-optional-missing": /^Key "optional" missing in a JSON object/,
  "cosign-critical-extra": /^Unknown key "x"/,
  "cosign-atomic-type": /^Unrecognized signature type atomic container signature/,
  "cosign-no-annotation": /^missing dev\.cosignproject\.cosign\/signature annotation/,
  "cosign-bad-base64": /^illegal base64 data/,
  "cosign-base64url": /^illegal base64 data/,
  "cosign-fulcio-no-cert": /^missing dev\.sigstore\.cosign\/certificate annotation/,
  "cosign-fulcio-no-set": /^missing dev\.sigstore\.cosign\/bundle annotation/,
  "cosign-key-rekor-missing": /^missing dev\.sigstore\.cosign\/bundle annotation/,
  "cosign-key-rekor-rsa": /^Rekor public keys must be ECDSA/,
  "cosign-key-rekor-other-pubkey": /^publicKey in Rekor SET does not match/,
  "cosign-rekor-other-key": /^cryptographic signature verification of Rekor SET failed/,
  "cosign-rekor-time-changed": /^cryptographic signature verification of Rekor SET failed/,
  "cosign-rekor-payload-extra": /^Rekor SET: Unknown key/,
  "cosign-rekor-other-hash": /^payload in Rekor SET does not match/,
  "cosign-rekor-api-version": /^Unexpected Rekor entry/,
  "cosign-rekor-kind-other": /^Unexpected Rekor entry/,
  "cosign-fulcio-two-certs": /^expected one PEM block and nothing else, found 2/,
};

/** What the hints of the independent checker mean in our words. */
const HINTS: readonly (readonly [RegExp, RegExp])[] = [
  [/^no signature$/, /^A signature was required, but no signature exists/],
  [/^identity/, /^Signature for identity ".*" is not accepted/],
  [/^digest$/, /^Signature for digest .* does not match/],
  [/^issuer$/, /issuer/],
  [/^email$/, /^Required email ".*" not found/],
  [/^host$/, /^Unexpected subject hostname/],
  [/^leaf time\/eku$/, /expired or is not yet valid|incompatible key usage/],
  [/^chain$/, /signed by unknown authority/],
];

Deno.test("images of the case table are let in or refused as the reference does it", async (t) => {
  assert.equal(cases.length, 139);
  for (const row of cases) {
    await t.step(row.id, async () => {
      // In that row the file simply does not have the line.
      const off = row.id === "cosign-attachments-off";
      const verdict = await judge(row, { reference: true, ...off ? { attachments: "" } : {} });
      assert.equal(verdict.accepted, row.expect === "accept", verdict.reason ?? "");
      if (row.expect === "reject") assertReason(row, verdict.reason ?? "");
      else assert.equal(verdict.reason, undefined);
    });
  }
});

function assertReason(row: CaseRow, reason: string): void {
  const own = REASONS[row.id];
  if (own !== undefined) return assert.match(reason, own);
  const hint = HINTS.find(([pattern]) => row.reason_hint && pattern.test(row.reason_hint));
  if (hint !== undefined) return assert.match(reason, hint[1]);
  // Newer versions of the library put quotes around names; ours tells more behind that.
  const wanted = (row.skopeo_message || row.reason_hint || "(none)")
    .replace(/^.*Source image rejected: /, "")
    .replace(/identity (\S+) is not/, 'identity "$1" is not');
  const place = reason.replace(/^parsing signature "[^"]*": /, "");
  const shown = wanted.replace(/^parsing signature "[^"]*": /, "");
  assert.ok(place.startsWith(shown), `${row.id}: "${reason}" is not "${wanted}"`);
}

Deno.test("images of the case table are let in where ours is better", async (t) => {
  for (const row of cases) {
    const why = OURS[row.id];
    const verdict = await judge(
      row,
      row.id === "cosign-attachments-off" ? { attachments: "" } : {},
    );
    const expected = why === undefined ? row.expect === "accept" : true;
    await t.step(why === undefined ? row.id : `${row.id}: ${why.source}`, () => {
      assert.equal(verdict.accepted, expected, verdict.reason ?? "");
      const marked = row.reference_only === true || row.id === "cosign-attachments-off";
      assert.equal(marked, why !== undefined);
    });
  }
});

Deno.test("attachments that registries.d forbids are not looked at, and the reason says so", async () => {
  const row = cases.find(({ id }) => id === "cosign-attachments-off")!;
  const verdict = await judge(row, { attachments: "  use-sigstore-attachments: false\n" });
  assert.equal(verdict.accepted, false);
  assert.match(verdict.reason!, /no signature exists; sigstore attachments were not looked at/);
});
