<?php
require __DIR__ . '/../shop.php';
open_session();
$user = needed_user();

$rows = '';
foreach ($_SESSION['orders'] as ['number' => $number, 'what' => $what]) {
    $rows .= '<tr><td>' . e((string) $number) . '</td><td>' . e($what) . "</td></tr>\n";
}
$orders = $rows === '' ? '<p>None yet.</p>' : "<table id=\"orders\"><tr><th>Number</th><th>What</th></tr>\n$rows</table>";
$csrf = csrf_field();
show_page('Your orders', "$orders
<form action=\"/order.php\" method=\"post\">$csrf
<label>What would you like? <input name=\"what\" id=\"what\" required maxlength=\"100\"></label> <button id=\"order\">Place order</button>
</form>", $user, throughline_script($user));
