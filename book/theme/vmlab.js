// Colours sessions (`> ` is typed, the rest is the answer) and says which machine they run on.
(function () {
    "use strict";
    const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    const typed = (text) =>
        escape(text).replace(/\b_*(?:GFP|PROT|MAP|CLONE|PAGE|SIG|MADV)_?[A-Z0-9_]*\b/g, '<span class="vmlab-constant">$&</span>');
    const line = (text) => {
        if (text.startsWith(">")) {
            const rest = text.slice(1).replace(/^ /, "");
            return '<span class="vmlab-prompt">&gt; </span><span class="vmlab-typed">' + typed(rest) + "</span>";
        }
        if (/^(error:|BUG:|Kernel panic)/.test(text)) {
            return '<span class="vmlab-error">' + escape(text) + "</span>";
        }
        return escape(text);
    };
    document.querySelectorAll("code.language-vmlab").forEach((code) => {
        code.innerHTML = code.textContent.split("\n").map(line).join("\n");
        code.classList.add("hljs");
        // Which machine answers: a reader who types along boots it first.
        const attribute = (name) =>
            Array.from(code.classList).map((word) => word.split(name + "=")[1]).find((value) => value);
        const caption = document.createElement("span");
        caption.className = "vmlab-machine";
        const seed = attribute("seed");
        caption.textContent = code.classList.contains("continue")
            ? "continued"
            : "boot " + (attribute("machine") || "tiny") + (seed ? ", seed " + seed : "");
        code.parentElement.before(caption);
    });
})();
