// Keeps the page up to date: fetches it again and exchanges the parts that have changed. Without this
// script the page works as well, and is updated by its link.
"use strict";

(() => {
  const EVERY = 10_000;
  const main = document.querySelector("main[data-live]");
  if (!main) {
    return;
  }
  const live = document.getElementById("live");
  const updated = document.querySelector("[data-updated]");
  let timer;
  let unreached = false;
  let headline = document.title;

  const clock = (date) => date.toISOString().slice(11, 19);

  // What a reader has begun to enter in a part, which an exchange would wipe out.
  const entered = (part) =>
    [...part.querySelectorAll("input, select, textarea")].some((field) => {
      if (field === document.activeElement) {
        return true;
      }
      if (field.type === "checkbox" || field.type === "radio") {
        return field.checked !== field.defaultChecked;
      }
      if (field instanceof HTMLSelectElement) {
        return [...field.options].findIndex((option) => option.defaultSelected) !== -1
          ? [...field.options].some((option) => option.selected !== option.defaultSelected)
          : field.selectedIndex > 0;
      }
      return field.value !== field.defaultValue;
    });

  // How to find an element of a part again after the exchange.
  const places = (part) => [...part.querySelectorAll("a, button, summary")];
  const name = (element) =>
    [element.tagName, element.id, element.getAttribute("href"), element.getAttribute("value")].join(" ");

  const exchange = (old, fresh) => {
    const active = old.contains(document.activeElement) ? name(document.activeElement) : null;
    // What a reader has unfolded stays so.
    for (const one of old.querySelectorAll("details[open][id]")) {
      fresh.querySelector(`#${CSS.escape(one.id)}`)?.setAttribute("open", "");
    }
    old.replaceWith(fresh);
    if (active !== null) {
      places(fresh)
        .find((one) => name(one) === active)
        ?.focus({ preventScroll: true });
    }
  };

  const show = (fresh) => {
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = document.getElementById(part.id);
      if (old && !entered(old) && old.outerHTML !== part.outerHTML) {
        exchange(old, document.adoptNode(part));
      }
    }
    const time = fresh.querySelector("[data-updated]");
    if (time) {
      updated.replaceChildren(...time.childNodes);
    }
    document.title = fresh.title;
  };

  // Only changes are announced, not every update.
  const announce = (text, well) => {
    live.classList.toggle("well", well);
    live.textContent = text;
  };

  const update = async () => {
    try {
      const answer = await fetch(location.href, {
        cache: "no-store",
        headers: { accept: "text/html" },
        signal: AbortSignal.timeout(EVERY),
      });
      if (!answer.ok) {
        throw new Error(`it answered ${answer.status}`);
      }
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (unreached) {
        unreached = false;
        announce(`The service was reached again at ${clock(new Date())} UTC.`, true);
      } else if (document.title !== headline) {
        announce(`Changed: ${document.title.replace(/ – purgefront$/, "")}.`, true);
      } else if (live.textContent) {
        announce("", true);
      }
      headline = document.title;
    } catch (error) {
      if (!unreached) {
        unreached = true;
        const why = error.message.startsWith("it answered") ? `: ${error.message}` : "";
        announce(
          `The service could not be reached at ${clock(new Date())} UTC${why}. ` +
            `What is shown is from ${updated.textContent} UTC. It is tried again every 10 s.`,
          false,
        );
      }
    }
    plan();
  };

  const plan = () => {
    clearTimeout(timer);
    if (!document.hidden) {
      timer = setTimeout(update, EVERY);
    }
  };

  // Who ticks a dead letter or picks a reason means that one.
  document.addEventListener("change", ({ target }) => {
    const scope = { id: "scope-ids", why: "scope-why" }[target.name];
    if (scope) {
      document.getElementById(scope).checked = true;
    }
  });

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) {
      update();
    }
  });
  plan();
})();
