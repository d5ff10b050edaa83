<?php
require __DIR__ . '/../shop.php';
open_session(true);
$user = needed_user();
need_own_form();
$what = trim(field('what'));
// What isn't UTF-8, or is empty or too long, is no order.
if (preg_match('/^.{1,100}$/u', $what)) {
    $number = random_int(100000, 999999);
    $_SESSION['orders'][] = ['number' => $number, 'what' => $what];
    session_write_close();
    throughline_post('lobby', "{$user['name']} has ordered: $what (order $number)", "order-placed-$number");
}
go_to('/');
