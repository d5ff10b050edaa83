<?php
require __DIR__ . '/../shop.php';
open_session(true);
$_SESSION['csrf'] = $_SESSION['csrf'] ?? bin2hex(random_bytes(16));

$alert = '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    need_own_form();
    $login = strtolower(field('login'));
    if (user_with_password($login, field('password')) !== null) {
        session_regenerate_id(true);
        $_SESSION = ['login' => $login, 'csrf' => bin2hex(random_bytes(16)), 'orders' => []];
        go_to('/');
    }
    $alert = '<p role="alert">There is no user of that name and password.</p>';
}
$csrf = csrf_field();
$login = e(field('login'));
show_page('Log in', "$alert
<form method=\"post\">$csrf
<label>Name <input name=\"login\" id=\"login\" value=\"$login\" required autofocus></label>
<label>Password <input name=\"password\" id=\"password\" type=\"password\" required></label> <button id=\"log-in\">Log in</button>
</form>");
