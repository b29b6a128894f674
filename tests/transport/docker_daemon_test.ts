import assert from "node:assert/strict";
import { cfsCommand } from "../helpers/run.ts";
import { TempDir } from "../helpers/temp.ts";

/** Waits until something is true, for ten seconds at most. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(condition());
}

function entries(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`docker-daemon: leaves no files and no skopeo behind when ${signal} ends it`, async () => {
    using dir = new TempDir();
    const started = dir.join("started");
    // Stands in for skopeo: writes some of the archive, and does not come to an end.
    const script = `#!/bin/sh\necho data > "\${4#docker-archive:}"\necho $$ > '${started}.new'\n` +
      `mv '${started}.new' '${started}'\nexec sleep 60\n`;
    Deno.chmodSync(dir.write("bin/skopeo", script), 0o755);
    Deno.mkdirSync(dir.join("tmp"));
    const [program, ...args] = cfsCommand(["oci", "inspect-toc", "docker-daemon:a:b"]);
    const child = new Deno.Command(program!, {
      args,
      env: { TMPDIR: dir.join("tmp"), PATH: `${dir.join("bin")}:${Deno.env.get("PATH")}` },
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until(() => entries(dir.path).includes("started"));
    assert.equal(entries(dir.join("tmp")).length, 1);
    child.kill(signal);
    assert.equal((await child.status).signal, signal);
    assert.deepEqual(entries(dir.join("tmp")), []);
    const skopeo = Deno.readTextFileSync(started).trim();
    await until(() => {
      try {
        // A zombie has ended, too; whoever adopted it collects it.
        return /^State:\tZ/m.test(Deno.readTextFileSync(`/proc/${skopeo}/status`));
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return true;
        throw error;
      }
    });
  });
}
