// Looks at the status page in headless Chromium: takes pictures, checks accessibility with axe-core, and
// works with it by keyboard, with and without JavaScript. Started by tests/page/browser.rs with one JSON
// argument: url, situation, pictures, chromium, token.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const order = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const faults = [];
const check = (holds, text) => holds || faults.push(text);

mkdirSync(order.pictures, { recursive: true });
const browser = await chromium.launch({
  executablePath: order.chromium,
  args: ["--no-sandbox", "--no-proxy-server"],
});

// A page of its own, whose complaints are faults.
async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.expected = () => false;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !page.expected(message.text())) {
      faults.push(`${path}: the console says: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => faults.push(`${path}: ${error}`));
  page.on("dialog", (dialog) => {
    faults.push(`${path}: a script of a stranger ran: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(order.url + path);
  return page;
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations", "incomplete"] }));
  for (const { id, help, nodes } of found.violations) {
    faults.push(`${what}: ${id}: ${help}: ${nodes.map((one) => one.html.slice(0, 200)).join(" | ")}`);
  }
}

async function fits(page, what) {
  const [inner, outer] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  check(inner <= outer, `${what}: the page is ${inner} wide in a window of ${outer}`);
  const cut = await page.evaluate(() =>
    [...document.querySelectorAll("main *, header *")]
      .filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 2 && box.right > document.documentElement.clientWidth + 1;
      })
      .map((one) => one.outerHTML.slice(0, 120)),
  );
  const low = await page.evaluate(() =>
    [...document.querySelectorAll("nav a, .brand, .updated a, .pages a, table a, summary, button, select")]
      .filter((one) => {
        const box = one.getBoundingClientRect();
        return box.height > 0 && box.height < 24;
      })
      .map((one) => one.outerHTML.slice(0, 120)),
  );
  check(low.length === 0, `${what}: lower than 24 px: ${low.slice(0, 3).join(" | ")}`);
  check(cut.length === 0, `${what}: beyond the edge: ${cut.slice(0, 3).join(" | ")}`);
}

// The page in all its looks, and the pages that it leads to.
async function looks() {
  for (const width of [390, 1280]) {
    for (const colorScheme of ["light", "dark"]) {
      const options = { viewport: { width, height: 844 }, colorScheme };
      const page = await open("/", options);
      const what = `${order.situation}-${width}-${colorScheme}`;
      await page.screenshot({ path: `${order.pictures}/${what}.png`, fullPage: true });
      await accessible(page, what);
      await fits(page, what);
      const first = await page.$("#invalidations tbody a");
      const others = [
        ["object", "/page/object?bucket=docs&key=index.html"],
        ["deadletters", "/page/deadletters"],
        ["confirm", "/page/deadletters/confirm?do=drop&scope=all"],
        ["distributions", "/page/distributions"],
      ];
      if (first) {
        others.push(["invalidation", await first.getAttribute("href")]);
      }
      for (const [name, path] of others) {
        const other = await open(path, options);
        await accessible(other, `${what}: ${path}`);
        await fits(other, `${what}: ${path}`);
        await other.screenshot({ path: `${order.pictures}/${what}-${name}.png`, fullPage: true });
        await other.context().close();
      }
      await page.context().close();
    }
  }
}

// The keyboard reaches everything, and the first stop leads to the content.
async function keyboard() {
  const page = await open("/");
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input, select, summary")];
    const radios = new Set();
    const reached = all.filter((one) => {
      if (one.type !== "radio") {
        return true;
      }
      // The arrows move within a group.
      const first = !radios.has(one.name);
      radios.add(one.name);
      return first;
    });
    reached.forEach((one, at) => (one.dataset.stop = String(at)));
    return reached.length;
  });
  for (let at = 0; at < wanted; at += 1) {
    await page.keyboard.press("Tab");
    const [stop, seen] = await page.evaluate(() => {
      const box = document.activeElement.getBoundingClientRect();
      return [document.activeElement.dataset.stop, box.width > 0 && box.height > 0];
    });
    check(stop === String(at) && seen, `the keyboard reaches ${stop} where it should reach ${at}`);
  }
  await page.goto(order.url + "/");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  check(await page.evaluate(() => document.activeElement.id === "main"), "the first link skips to the content");
  await page.context().close();
}

// The page updates itself, keeps what was entered, and says when it cannot.
async function updates() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(order.url + "/");
  await page.evaluate(() => (window.sameDocument = true));
  const tick = async () => {
    const before = await page.textContent("#updated");
    await page.clock.runFor(10_000);
    return before;
  };
  await page.fill("#key", "half-typed");
  await page.focus("nav a");
  const box = await page.$("#deadletters input[type=checkbox]");
  await box?.check();
  await page.focus("#key");
  const pause = (path) => fetch(order.url + path, { method: "POST" });
  await pause("/pause");
  await tick();
  await page.waitForFunction(() => document.querySelector("#warnings")?.textContent.includes("paused for all"));
  check(await page.evaluate(() => window.sameDocument), "the page is not loaded anew");
  check((await page.inputValue("#key")) === "half-typed", "what was entered stays");
  check(await page.evaluate(() => document.activeElement.id === "key"), "the focus stays");
  check(!box || (await page.isChecked("#deadletters input[type=checkbox]")), "a tick stays");
  if (box) {
    // A part is exchanged when nothing is entered in it, and the focus is where it was.
    await page.check("#scope-all");
    await page.selectOption("#why", { index: 1 });
    check(await page.isChecked("#scope-why"), "who picks a reason means that one");
    await page.check("#scope-ids");
    await page.selectOption("#why", { index: 0 });
    await page.check("#scope-ids");
    await page.uncheck("#deadletters input[type=checkbox]");
    const drop = page.locator("#deadletters button[name=one]").last();
    await drop.focus();
    await page.evaluate(() => (document.querySelector("#deadletters").old = true));
    await tick();
    await page.waitForFunction(() => !document.querySelector("#deadletters").old);
    const focused = await page.evaluate(() => document.activeElement.value);
    const value = await drop.getAttribute("value");
    check(focused === value, `the focus is on ${focused}, not on ${value}`);
  }
  await pause("/resume");
  await page.route("**/", (route) => route.abort());
  await tick();
  await page.waitForFunction(() => document.querySelector("#live").textContent.includes("could not be reached"));
  const told = await page.locator("#live").boundingBox();
  check(told.y >= 0 && told.y < 100, "wherever a reader is, the page says that it is not up to date");
  await page.screenshot({ path: `${order.pictures}/${order.situation}-unreachable.png` });
  await page.unroute("**/");
  await tick();
  await page.waitForFunction(() => document.querySelector("#live").textContent.includes("reached again"));
  await context.close();
}

// Two dead letters are dropped by somebody whose browser runs no script.
async function forms() {
  const page = await open("/", { javaScriptEnabled: false });
  const boxes = await page.$$("#deadletters input[type=checkbox]");
  if (boxes.length < 2) {
    await page.context().close();
    return;
  }
  await boxes[0].check();
  await boxes[1].check();
  await page.click("#deadletters button[name=do][value=drop]");
  check((await page.textContent("h1")) === "Drop 2 dead letters?", "the second step says what is dropped");
  page.expected = (text) => text.includes("403");
  await page.fill("#token", "wrong");
  await page.click("main form button");
  check((await page.textContent("[role=alert]")).includes("unknown"), "a wrong token is told");
  await page.fill("#token", order.token);
  await page.click("main form button");
  const told = await page.textContent(".result");
  check(told.includes("2 dead letters dropped"), `the result says: ${told}`);
  check(!page.url().includes(order.token), "the token is in no address");
  await page.context().close();
}

for (const part of [looks, keyboard, updates, forms]) {
  try {
    await part();
  } catch (error) {
    faults.push(`${part.name}: ${error.stack}`);
  }
}
await browser.close();
if (faults.length > 0) {
  console.log(faults.join("\n"));
  process.exit(1);
}
