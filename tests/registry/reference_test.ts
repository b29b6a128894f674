import assert from "node:assert/strict";
import { Digest, InvalidNameError } from "../../lib/base/mod.ts";
import {
  attachmentTag,
  formatDockerReference,
  parseDockerReference,
  wanted,
} from "../../lib/registry/mod.ts";
import { needTool, testWith } from "../helpers/needs.ts";
import { TempDir } from "../helpers/temp.ts";
import { tool } from "../helpers/tool.ts";

const HEX = "0123456789abcdef".repeat(4);

const good: [text: string, full: string, wants: string][] = [
  ["busybox", "docker.io/library/busybox", "latest"],
  ["busybox:1.36", "docker.io/library/busybox:1.36", "1.36"],
  ["a/b", "docker.io/a/b", "latest"],
  ["docker.io/busybox", "docker.io/library/busybox", "latest"],
  ["index.docker.io/busybox:x", "docker.io/library/busybox:x", "x"],
  ["index.docker.io/a/b", "docker.io/a/b", "latest"],
  ["localhost/a", "localhost/a", "latest"],
  ["localhost:5000/a/b/c:t", "localhost:5000/a/b/c:t", "t"],
  ["quay.io/a/b-c__d.e_f", "quay.io/a/b-c__d.e_f", "latest"],
  ["UPPER/a", "UPPER/a", "latest"],
  ["a--b/c", "docker.io/a--b/c", "latest"],
  ["[::1]:5000/a", "[::1]:5000/a", "latest"],
  ["[2001:db8::1]/a/b", "[2001:db8::1]/a/b", "latest"],
  [`quay.io/a/b@sha256:${HEX}`, `quay.io/a/b@sha256:${HEX}`, `sha256:${HEX}`],
  [`quay.io/a/b:t@sha256:${HEX}`, `quay.io/a/b:t@sha256:${HEX}`, `sha256:${HEX}`],
  [`b@sha512:${HEX}${HEX}`, `docker.io/library/b@sha512:${HEX}${HEX}`, `sha512:${HEX}${HEX}`],
  ["a:" + "t".repeat(128), "docker.io/library/a:" + "t".repeat(128), "t".repeat(128)],
  ["a.b/c", "a.b/c", "latest"],
  ["q.io/" + "n".repeat(250), "q.io/" + "n".repeat(250), "latest"],
];

const bad: string[] = [
  "",
  "/",
  "a/",
  "/a",
  "a//b",
  "a/B",
  "quay.io/",
  "quay.io/A",
  "-a/b",
  "a:",
  "a:-t",
  "a:t t",
  "a:" + "t".repeat(129),
  "a b",
  "a_/b",
  "a___b",
  "a..b/c",
  "a.-b.c/x",
  "host:99999/a",
  "host.name:/a",
  "http://quay.io/a",
  "quay.io/a@sha256:" + HEX.slice(1),
  "quay.io/a@sha256:" + HEX.toUpperCase(),
  "quay.io/a@",
  "quay.io/a@x",
  HEX,
  "q.io/" + "n".repeat(251),
  "[::1/a",
  "[zz]/a",
  "user@quay.io/a",
  "quay.io/a?b",
  "quay.io/a#b",
  "quay.io/../a",
  "quay.io/a/%2e%2e",
  "a\n",
  "x".repeat(100_000),
];

Deno.test("parseDockerReference() completes names", async (t) => {
  for (const [text, full, wants] of good) {
    await t.step(text.slice(0, 60), () => {
      const reference = parseDockerReference(text);
      assert.equal(formatDockerReference(reference), full);
      assert.equal(wanted(reference).toString(), wants);
      assert.equal(reference.name, `${reference.domain}/${reference.path}`);
      assert.deepEqual(parseDockerReference(full), reference);
    });
  }
});

Deno.test("parseDockerReference() refuses what is no name", async (t) => {
  for (const text of bad) {
    await t.step(JSON.stringify(text.slice(0, 60)), () => {
      assert.throws(() => parseDockerReference(text), InvalidNameError);
    });
  }
});

testWith({
  name: "skopeo takes the same names",
  needs: [needTool("skopeo")],
  async fn(t) {
    using dir = new TempDir();
    // Everything is blocked, so that nobody is asked.
    const hosts = ["docker.io", "localhost", "quay.io", "UPPER", "a.b", "q.io", "localhost:5000"];
    const blocked = [...hosts, "[::1]:5000", "[2001:db8::1]", "host:99999"].map((host) =>
      `[[registry]]\nlocation = "${host}"\nblocked = true\n`
    );
    dir.write(".config/containers/registries.conf", blocked.join(""));
    const names = [...good.map(([text]) => text), ...bad.filter((text) => text.length < 1000)];
    for (const name of names) {
      await t.step(JSON.stringify(name.slice(0, 60)), async () => {
        // skopeo does not look at ports, and refuses tags beside digests; hosts in upper case and
        // numbers of hosts in brackets are new in later versions.
        if (/:99999|:t@|^UPPER|^\[/.test(name)) return;
        const { stderr } = await new Deno.Command(tool("skopeo"), {
          args: ["inspect", "--tls-verify=false", `docker://${name}`],
          env: { HOME: dir.path },
        }).output();
        const text = new TextDecoder().decode(stderr);
        const taken = /is blocked in/.test(text);
        assert.equal(taken, good.some(([one]) => one === name), text);
      });
    }
  },
});

Deno.test("attachmentTag() names what belongs to a manifest", () => {
  const digest = Digest.parse(`sha256:${HEX}`);
  assert.equal(attachmentTag(digest, ".sig"), `sha256-${HEX}.sig`);
  assert.equal(attachmentTag(digest), `sha256-${HEX}`);
});
