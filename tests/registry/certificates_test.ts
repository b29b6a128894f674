import assert from "node:assert/strict";
import { FormatError } from "../../lib/base/mod.ts";
import { hostCertificates, systemAuthorities } from "../../lib/registry/certificates.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

testWith({
  name: "hostCertificates() takes authorities, and certificates with their keys",
  needs: [needTool("openssl")],
  async fn(t) {
    using dir = new TempDir();
    const { success } = new Deno.Command(tool("openssl"), {
      args: [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        ...["-keyout", dir.join("key"), "-out", dir.join("cert"), "-subj", "/CN=x"],
      ],
      stderr: "null",
    }).outputSync();
    assert.ok(success);
    const cert = Deno.readTextFileSync(dir.join("cert"));
    const key = Deno.readTextFileSync(dir.join("key"));
    const surroundings = {
      variable: (name: string) => name === "HOME" ? dir.join("home") : undefined,
      uid: 0,
      root: dir.join("root"),
    };
    const domain = "h.io:5000";
    const places = [
      "root/etc/docker/certs.d",
      "root/etc/containers/certs.d",
      "home/.config/containers/certs.d",
    ];
    for (const [index, place] of places.entries()) {
      await t.step(place, () => {
        for (let one = 0; one <= index; one++) dir.write(`${place}/${domain}/${one}.crt`, cert);
        const found = hostCertificates(domain, { surroundings });
        assert.equal(found.authorities.length, index + 1);
        assert.equal(found.clientCert, undefined);
        assert.equal(hostCertificates("h.io", { surroundings }).authorities.length, 0);
      });
    }
    const cases: [name: string, files: Record<string, string>, fault: RegExp | undefined][] = [
      ["a pair", { "c.cert": cert, "c.key": key }, undefined],
      ["no key", { "c.cert": cert }, /c\.cert has no c\.key/],
      ["no certificate", { "c.key": key }, /c\.key has no c\.cert/],
      ["no authority", { "a.crt": "x" }, undefined],
      [
        "a broken authority",
        { "a.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" },
        /is no certificate/,
      ],
      ["a broken key", { "c.cert": cert, "c.key": "x" }, /cannot be used/],
      ["something else", { "README": "x" }, undefined],
    ];
    for (const [index, [name, files, fault]] of cases.entries()) {
      await t.step(name, () => {
        const certDir = dir.join(`case-${index}`);
        for (const [file, text] of Object.entries(files)) dir.write(`case-${index}/${file}`, text);
        const work = () => hostCertificates(domain, { certDir, surroundings });
        if (fault !== undefined) {
          return assert.throws(work, (error: unknown) => {
            assert.ok(error instanceof FormatError);
            assert.match(error.message, fault);
            assert.doesNotMatch(Deno.inspect(error), /PRIVATE/);
            return true;
          });
        }
        assert.equal(work().clientCert?.key, files["c.key"]);
      });
    }
    await t.step("the machine's authorities", () => {
      assert.deepEqual(systemAuthorities(surroundings), []);
      dir.write("root/etc/ssl/certs/ca-certificates.crt", cert);
      assert.deepEqual(systemAuthorities(surroundings), [cert]);
    });
  },
});
