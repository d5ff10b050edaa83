<?php
// Asked by the chat's script (data-auth-url) when it wants to know anew who is logged in here.
require __DIR__ . '/../shop.php';
open_session();
// Whoever has just logged out would get a new session here, in place of the one that the log-in page is giving out just now.
header_remove('Set-Cookie');
header('Content-Type: text/plain; charset=utf-8');
header('Cache-Control: private, no-store');
$user = current_user();
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(405);
} elseif ($user === null) {
    http_response_code(401);
} else {
    echo throughline_claims($user);
}
