<%@ Language="VBScript" CodePage="65001" %>
<%
' Not run by the tests: checked by reading against the vectors.
' VBScript has no HMAC, so the service makes the claims: POST /api/tokens, with an API key that has the scope "tokens".
' Save this file as UTF-8: with its CodePage, Server.URLEncode encodes names as UTF-8.
Option Explicit

Function ThroughlineClaims(userId, userName)
  Dim http, found
  ThroughlineClaims = ""
  Set http = Server.CreateObject("MSXML2.ServerXMLHTTP.6.0")
  ' Milliseconds to resolve, connect, send and receive: a chat that is down may not hold up the page.
  http.setTimeouts 500, 500, 1000, 1000
  On Error Resume Next
  http.open "POST", "http://127.0.0.1:3000/chat/api/tokens", False
  http.setRequestHeader "Authorization", "Bearer " & Application("ThroughlineApiKey")
  http.setRequestHeader "Content-Type", "application/x-www-form-urlencoded"
  http.send "id=" & Server.URLEncode(userId) & "&name=" & Server.URLEncode(userName)
  If Err.Number <> 0 Then Exit Function
  If http.status < 200 Or http.status > 299 Then Exit Function
  Set found = New RegExp
  ' The claims are letters, digits, "-", "_" and one "." alone, so they stand in the JSON as they are.
  found.Pattern = """claims"":""([A-Za-z0-9_.-]+)"""
  If found.Test(http.responseText) Then ThroughlineClaims = found.Execute(http.responseText)(0).SubMatches(0)
End Function

' With claims in it a page must not be kept by a proxy.
Response.CacheControl = "private, no-store"
%>
<script src="/chat/widget.js" async data-site="main" data-room="lobby" data-claims="<%= ThroughlineClaims(Session("UserId"), Session("UserName")) %>"></script>
