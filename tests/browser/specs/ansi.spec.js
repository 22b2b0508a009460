import { ansiToDom, parseLine, plainText } from "/assets/ansi.js";
import { equal, ok } from "./harness.js";

const E = "\u001b";
const html = (line) => {
  const div = document.createElement("div");
  div.append(ansiToDom(line));
  return div.innerHTML;
};

export function plain_text_is_one_node() {
  equal(html("hello"), "hello");
  equal(html(""), "");
  equal(parseLine("  two  spaces ").length, 1);
}

export function colours_become_classes() {
  equal(html(`${E}[31mred${E}[0m off`), '<span class="ansi-fg-1">red</span> off');
  equal(html(`${E}[92mbright${E}[39m`), '<span class="ansi-fg-10">bright</span>');
  equal(html(`${E}[1;4;33;44mx`), '<span class="ansi-fg-3 ansi-bg-4 ansi-bold ansi-underline">x</span>');
  equal(html(`${E}[2mdim${E}[22m not`), '<span class="ansi-dim">dim</span> not');
  equal(html(`${E}[m${E}[31;0mplain`), "plain");
}

export function inverse_swaps_the_two_grounds() {
  equal(html(`${E}[7mx`), '<span class="ansi-fg-base ansi-bg-text">x</span>');
  equal(html(`${E}[31;47;7mx`), '<span class="ansi-fg-7 ansi-bg-1">x</span>');
}

export function many_colours_come_down_to_sixteen() {
  equal(html(`${E}[38;5;9mx`), '<span class="ansi-fg-9">x</span>');
  equal(html(`${E}[38;5;196mx`), '<span class="ansi-fg-9">x</span>');
  equal(html(`${E}[38;2;0;120;0mx`), '<span class="ansi-fg-2">x</span>');
  equal(html(`${E}[38;5;255mx`), '<span class="ansi-fg-15">x</span>');
  equal(html(`${E}[38;2;1;2;3;1mx`).includes("ansi-bold"), true, "what follows a colour still counts");
}

export function a_carriage_return_rewrites() {
  equal(plainText("10%\r100%"), "100%");
  equal(plainText("100%\r5"), "500%", "what is not written over stays");
  equal(plainText(`100%\r${E}[K5%`), "5%");
  equal(plainText(`long line\r${E}[2Kx`), "x");
  equal(plainText("done\r"), "done");
  equal(plainText("a\b\bb"), "b");
  equal(html(`${E}[31mbad${E}[0m\rgood`), "good");
}

export function other_sequences_leave_no_trace() {
  equal(plainText(`${E}]0;title\u0007text`), "text");
  equal(plainText(`${E}]8;;javascript:alert(1)${E}\\link${E}]8;;${E}\\`), "link");
  equal(plainText(`${E}]52;c;aGVsbG8=`), "", "an unfinished one swallows its line, not the page");
  equal(plainText(`a${E}[2Jb${E}[10;10Hc${E}[?25ld${E}(Be`), "abcde");
  equal(plainText(`${E}P1;2|data${E}\\x`), "x");
  equal(plainText("a\u0000b\u0007c\u009bd"), "abc");
  equal(plainText(`end${E}`), "end");
  equal(plainText(`end${E}[`), "end");
  equal(plainText(`end${E}[31`), "end");
}

export function nothing_is_ever_markup() {
  const line = '<img src=x onerror="alert(1)"><script>alert(2)</script>&amp;';
  const div = document.createElement("div");
  div.append(ansiToDom(line));
  equal(div.textContent, line);
  equal(div.querySelectorAll("*").length, 0);
}

export function links_are_http_only() {
  const links = (line) => {
    const div = document.createElement("div");
    div.append(ansiToDom(line));
    return [...div.querySelectorAll("a")].map((a) => [a.getAttribute("href"), a.textContent, a.rel]);
  };
  equal(links("see https://example.com/a?b=1#c."), [["https://example.com/a?b=1#c", "https://example.com/a?b=1#c", "noopener noreferrer"]]);
  equal(links("(http://x.test/y), ftp://no.test javascript:alert(1) data:text/html,x"), [["http://x.test/y", "http://x.test/y", "noopener noreferrer"]]);
  equal(links("https://"), []);
  equal(html("a https://e.test/\"onclick=x b").includes("onclick=x b"), true);
  equal(document.querySelector("[onclick]"), null);
}

export function wide_characters_and_long_lines_survive() {
  equal(plainText("✓ 日本語 👩‍🚀 ok"), "✓ 日本語 👩‍🚀 ok");
  equal(plainText("x".repeat(8192)).length, 8192);
  const started = performance.now();
  plainText(`${E}[31m`.repeat(2000) + "\r".repeat(2000) + "y");
  plainText("https://".repeat(1000));
  ok(Number.isFinite(started), "hostile repetition ends");
}

export function huge_columns_do_not_allocate() {
  equal(plainText(`a${E}[999999999Cb`), "ab");
  equal(plainText(`a${E}[999999999Gb`), "ab");
}
