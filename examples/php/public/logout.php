<?php
require __DIR__ . '/../shop.php';
open_session(true);
need_own_form();
$user = current_user();
// First here, so that nobody is vouched for any more when the chat asks; then there.
$_SESSION = [];
session_destroy();
if ($user !== null) {
    throughline_revoke($user);
}
go_to('/login.php');
