<?php
// The shop itself, as it was before it had a chat: sessions, users, forms, pages.
require __DIR__ . '/throughline.php';

const USERS = [
    'ada' => ['id' => 7, 'name' => 'Ada Lovelace', 'password' => '$2y$10$4wSPaHq/.xXiJz145cn4JutNFzF0Ui9NWWA.XqT2uWeHYjigTJtia'],
    'zoe' => ['id' => 8, 'name' => "Zoë O'Hara <zoe>", 'password' => '$2y$10$omJIkyi.LaHanZnxLAAEouEEYGCC4JioMWd7MblnmllzKnDg/3nru'],
];
/** Of no password: whether there is a user of a name doesn't show in how long a log-in takes. */
const NOBODYS_PASSWORD = '$2y$10$kgZZIEFiE2isuwf4Mfp0/O0TWQBCa31wDO3ajMXUdo1gu5fyosqnK';

/** Opens the session; to be read only, unless the page is to change it: then it isn't locked while the page is made. */
function open_session(bool $isToChange = false): void
{
    session_start([
        'cookie_httponly' => true,
        'cookie_samesite' => 'Lax',
        'cookie_secure' => !empty($_SERVER['HTTPS']),
        'use_strict_mode' => true,
        'read_and_close' => !$isToChange,
    ]);
}

function current_user(): ?array
{
    return USERS[$_SESSION['login'] ?? ''] ?? null;
}

/** Who is logged in; whoever isn't is sent to the log-in. */
function needed_user(): array
{
    $user = current_user();
    if ($user === null) {
        go_to('/login.php');
    }

    return $user;
}

function user_with_password(string $login, string $password): ?array
{
    $user = USERS[$login] ?? null;
    $isRight = password_verify($password, $user['password'] ?? NOBODYS_PASSWORD);

    return $isRight ? $user : null;
}

/** The hidden field of the shop's own forms, without which they aren't taken. */
function csrf_field(): string
{
    return '<input type="hidden" name="csrf" value="' . e($_SESSION['csrf'] ?? '') . '">';
}

/** Ends the request, unless it is a form that this session was given. */
function need_own_form(): void
{
    $sent = $_POST['csrf'] ?? '';
    $isOwn = is_string($sent) && !empty($_SESSION['csrf']) && hash_equals($_SESSION['csrf'], $sent);
    if ($_SERVER['REQUEST_METHOD'] !== 'POST' || !$isOwn) {
        http_response_code(403);
        exit('This form has expired. Go back, load the page anew, and send it again.');
    }
}

/** A field of a form as text, whatever was sent. */
function field(string $name): string
{
    return is_string($_POST[$name] ?? null) ? $_POST[$name] : '';
}

/** Text for HTML. */
function e(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

/** @return never */
function go_to(string $path): void
{
    header("Location: $path", true, 303);
    exit;
}

/** Sends a page. `$chat`: its line of the chat. */
function show_page(string $title, string $main, ?array $user = null, string $chat = ''): void
{
    $origin = throughline_origin();
    header('Content-Type: text/html; charset=utf-8');
    header("Content-Security-Policy: default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        . "frame-ancestors 'none'; connect-src 'self'; script-src $origin; frame-src $origin");
    $title = e($title);
    $top = '';
    if ($user !== null) {
        $name = e($user['name']);
        $csrf = csrf_field();
        $top = "<nav><a href=\"/\">Orders</a> <a href=\"/chat.php\">Chat</a></nav>
            <form action=\"/logout.php\" method=\"post\">$csrf $name <button id=\"log-out\">Log out</button></form>";
    }
    echo "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>$title · The Old Shop</title><link rel=\"icon\" href=\"data:,\">
<meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/shop.css\"></head>
<body><header><strong>The Old Shop</strong> $top</header>
<main><h1>$title</h1>
$main
</main>$chat</body>
</html>
";
}
