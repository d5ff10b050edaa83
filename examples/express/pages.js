const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escapeHtml = (text) => text.replaceAll(/[&<>"']/g, (sign) => ESCAPES[sign]);

const page = (title, body) => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${title}</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"></head>
<body><h1>${title}</h1>
${body}
</body></html>
`;

/** The log-in. */
export function logInPage(alert = '') {
  return page(
    'Log in',
    `<p role="alert">${escapeHtml(alert)}</p>
<form action="/log-in" method="post">
<label>Name <input name="login" id="login" required autofocus></label>
<label>Password <input name="password" id="password" type="password" required></label>
<button id="log-in">Log in</button>
</form>`,
  );
}

/** The page with the chat in it: it says nothing of the user, since the chat asks the application itself. */
export function chatPage(user) {
  return page(
    'The workshop',
    `<form action="/log-out" method="post">${escapeHtml(user.name)} <button id="log-out">Log out</button></form>
<div id="chat"></div>
<script src="/chat/widget.js" async data-room="lobby" data-mode="inline" data-target="#chat"></script>`,
  );
}
