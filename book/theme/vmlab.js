// Colours sessions: `> ` is typed, the rest is the answer. No library is needed for so little.
(function () {
    "use strict";
    const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    const typed = (text) =>
        escape(text).replace(/\b_*[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\b/g, '<span class="vmlab-constant">$&</span>');
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
    });
})();
