"""Phrases by which automatic mail and refusals of language models are known."""

import re

LONGEST_NOTICE = 2_000
"""No automatic reply has more characters; a delivery failure may, but shows in the first ones."""
LEAST_WORDS_OF_A_SENTENCE = 4
"""Shorter ones are greetings and names, which say nothing."""

# Each cue is a plain piece of text that must be there before a pattern is tried: mail without any
# costs a few substring searches.
_MAIL_CUES = (
    *("automat", "auto-", "autorepl", "auto repl", "of office", "the office", "away from my"),
    *("vacation", "holiday", "al leave", "ity leave", "sick leave", "on leave", "subscri"),
    *("to this e", "to this m", "to this n", "monitored", "unattended", "newsletter"),
    *("büro", "abwesen", "urlaub", "außer haus", "hause", "erreichbar", "auf diese", "anmeldung"),
    *("absen", "congé", "vacances", "bureau", "pas répondre", "abonnement", "inscription"),
    *("oficina", "ausente", "vacaciones", "no responda", "suscripci"),
)
_FAILURE_CUES = ("deliver", "mail", "notice", "unzustellbar", "zugestellt", "remis", "entregar")
FAILURE_HEAD = 240
"""A delivery failure begins with its cue, behind a subject at most."""
_HEADING = re.compile(
    r"\A(?:(?:subject|betreff|objet|asunto) ?: *)?[\[(]?"
    r"(?:automatic reply|automated reply|automated response|automatic response|auto[- ]?reply"
    r"|auto[- ]?response|automatische antwort|abwesenheits(?:notiz|nachricht|meldung)"
    r"|réponse automatique|message d'absence|respuesta automática|out of (?:the )?office"
    r"(?: auto[- ]?reply| reply)?|fuera de (?:la )?oficina)[\])]? *(?::[^\n]*|-[^\n]*)?(?:\n+|\Z)"
)
_AWAY = re.compile(
    r"\b(?:i am|i'm|i will be|i'll be) (?:currently |presently |now )?(?:out of (?:the )?office"
    r"|away from (?:the|my) (?:office|desk)|on (?:annual|parental|maternity|paternity|sick) leave"
    r"|on (?:vacation|holiday|leave))\b"
    r"|\bich bin [^\n]{0,60}?(?:nicht im (?:büro|haus|hause)|außer haus|abwesend|im urlaub"
    r"|nicht erreichbar)\b"
    r"|\bje suis (?:actuellement )?(?:absente?|en congés?|en vacances|hors du bureau)\b"
    r"|\b(?:estoy|me encuentro|estaré) (?:actualmente )?(?:fuera de (?:la )?oficina"
    r"|de vacaciones|ausente)\b"
)
_NOTICE = re.compile(
    r"\bthis (?:is an?|e-?mail is an?|message is an?|mail is an?) (?:automatic|automated|"
    r"auto-?generated|automatically generated|system[- ]generated)"
    r"|\bthis (?:e-?mail|message) (?:was|has been) (?:sent |generated )?automatically"
    r"|\b(?:do not|don't) (?:reply|respond) to this (?:e-?mail|message|mail)"
    r"|\b(?:mailbox|inbox|address) is (?:not monitored|unmonitored|unattended)"
    r"|\bdies(?:e nachricht| ist eine|e e-?mail) [^\n.]{0,30}automatisch"
    r"|\bantworten sie (?:bitte )?nicht auf diese"
    r"|\b(?:ceci est un|ce) (?:message|e-?mail|courriel|courrier) [^\n.]{0,40}automatique"
    r"|\bne pas répondre à ce"
    r"|\beste (?:es un )?(?:mensaje|correo) [^\n.]{0,40}automátic"
    r"|\bno responda a este"
)
_SUBSCRIPTION = re.compile(
    r"\b(?:please )?confirm your (?:e-?mail )?(?:subscription|address to subscribe)"
    r"|\bthank(?:s| you) for (?:subscribing|signing up)"
    r"|\byou (?:have|are|have been) (?:now |successfully )*(?:subscribed|unsubscribed)"
    r"|\bbestätigen sie (?:bitte )?ihre (?:newsletter-?)?(?:anmeldung|abonnement)"
    r"|\bconfirme[rz] votre (?:inscription|abonnement)"
    r"|\bconfirm[ae] (?:tu|su) suscripción"
)
_SUBSCRIPTION_PROOF = re.compile(
    r"newsletter|mailing list|click|link|button|klick|cliqu|clic|bouton|botón|boletín"
)
_SUPPORT = re.compile(
    r"\bthank(?:s| you) for (?:your |contacting|writing|getting in touch|reaching out)"
    r"|\b(?:reply|respond|answer|get back|be in touch|attend)\b[^\n]{0,80}"
    r"\b(?:return|am back|soon|possible|hours|days|shortly)\b"
    r"|\b(?:urgent|immediate|emergenc)[^\n]{0,80}\b(?:contact|call|e-?mail|write|reach)"
    r"|\bin my absence\b|\b(?:limited|no|intermittent) access to (?:my )?e-?mail"
    r"|\b(?:will (?:return|be back)|returning|back in the office)\b[^\n]{0,60}\b(?:on|until|the)\b"
    r"|\byour (?:e-?mail|message|request|ticket|case|enquiry|inquiry)\b[^\n]{0,40}"
    r"\b(?:received|forwarded|read|reviewed|logged|assigned|important)\b"
    r"|\b(?:have|has) received your\b|\bto add (?:additional )?comments\b"
    r"|\b(?:do not|don't|did not|didn't) (?:reply|respond|request|subscribe|sign up)\b"
    r"|\b(?:automat|auto-?generat|unmonitored|not monitored|newsletter|mailing list|unsubscribe)"
    r"|\b(?:click|follow|use)\b[^\n]{0,40}\b(?:link|button)\b|\bignore this (?:e-?mail|message)"
    r"|\bvielen dank für ihre|\bdringend|\bwenden sie sich an\b|\bich bin ab\b|\bautomatisch"
    r"|\bihre (?:nachricht|e-?mail|anfrage)\b[^\n]{0,40}\b(?:weitergeleitet|erhalten|eingegangen"
    r"|gelesen|beantwort\w*)|\b(?:rückkehr|wieder erreichbar|wieder im büro)\b|\bvertretung\b"
    r"|\bmerci (?:de|pour) votre|\b(?:cas d'|toute )urgence\b|\bmon retour\b|\bde retour le\b"
    r"|\bautomatique"
    r"|\bvotre (?:message|demande|e-?mail)\b[^\n]{0,40}\b(?:reçue?|transmis|traitée?)\b"
    r"|\bgracias por (?:su|tu|contactar)|\b(?:urgente|urgencia)\b|\bmi regreso\b|\bmi vuelta\b"
    r"|\bsu (?:mensaje|correo|solicitud)\b[^\n]{0,40}\b(?:recibid[oa]|reenviado)\b|\bautomátic"
)
# What a person asks for or tells of; automatic mail has none of it.
_OWN = re.compile(
    r"\b(?:mine|i want|i need|i'd like|i would like|but|because|instead|so please|can you"
    r"|could you|(?<!contact )(?<!reach )me"
    r"|my(?! (?:absence|return|colleague|deputy|team|e-?mail|office|desk|mobile))"
    r"|i(?:'ll| will) (?!reply|respond|answer|get back|attend|return|be)"
    r"|aber|weil|mir|mich|meine?[nrms]?(?! (?:rückkehr|abwesenheit|kolleg|vertretung))"
    r"|moi|mes|mais|m[ao]n?(?! (?:retour|absence|coll))"
    r"|mis|pero|porque|mi(?! (?:regreso|vuelta|ausencia|compañer|colega)))\b"
)
_CLOSING = re.compile(
    r"\n *(?:(?:kind|best|warm|many)? ?regards|sincerely|yours|best wishes|mit freundlichen"
    r"|freundliche|viele|beste)\b|\n *(?:cordialement|bien à vous|saludos|atentamente)\b"
)
_SENTENCE = re.compile(r"(?<!\d)[.!]+(?=\s|\Z)|\n")

_FAILURE = re.compile(
    r"\A(?:subject ?: *)?(?:this is the mail system at host"
    r"|delivery has failed to these recipients"
    r"|this is an (?:informative message sent by|automatically generated delivery status)"
    r"|hi\. this is the qmail"
    r"|mail delivery failed: returning message to sender"
    r"|undelivered mail returned to sender"
    r"|this message was created automatically by mail delivery software"
    r"|ihre nachricht an [^\n]{1,200} konnte nicht zugestellt werden *\n"
    r"|échec de la remise pour ces destinataires"
    r"|no se pudo entregar (?:el mensaje )?a estos destinatarios)"
)
_FAILURE_HEADING = re.compile(
    r"\A(?:subject|betreff|objet|asunto)? ?:? *(?:undeliverable|unzustellbar|non remis(?:ible)?"
    r"|no se puede entregar|mail delivery (?:failed|failure|system)|returned mail|failure notice"
    r"|delivery status notification|delivery failure|message not delivered)"
    r"(?: ?\([a-z ]{1,20}\))? ?(?::[^\n]*)?(?:\n|\Z)"
)
_FAILURE_PROOF = re.compile(
    r"\b[45]\d\d[ -][45]\.\d{1,3}\.\d{1,3}\b|mailer-daemon|postmaster|permanent (?:fatal )?error"
    r"|reporting-mta|following (?:address|recipient)|remote server|(?:wasn't|was not|be) delivered"
    r"|zugestellt|destinataire|destinatario"
)


def automatic_mail(text: str) -> str:
    """Return what kind of automatic mail a whole message is, or nothing.

    A message counts only where it holds nothing else: every sentence has to be one that such mail
    is made of, and none may ask. So a person who writes of an automatic reply, or away from the
    office asks for something, is heard.
    """
    head = _lower(text[:LONGEST_NOTICE]).strip()
    if _is_failure(head):
        return "mail delivery failure"
    if "?" in head or len(text) > LONGEST_NOTICE:
        return ""
    for cue in _MAIL_CUES:
        if cue in head:
            return _kind_of_notice(head)
    return ""


def _is_failure(head: str) -> bool:
    beginning = head[:FAILURE_HEAD]
    for cue in _FAILURE_CUES:
        if cue in beginning:
            break
    else:
        return False
    if _FAILURE.match(head):
        return True
    return bool(_FAILURE_HEADING.match(head) and _FAILURE_PROOF.search(head))


def _kind_of_notice(head: str) -> str:
    heading = _HEADING.search(head)
    body = head[heading.end() :] if heading else head
    closing = _CLOSING.search(body)
    sentences = _SENTENCE.split(body[: closing.start()] if closing else body)
    kinds: set[str] = {"automatic reply"} if heading else set()
    others = supports = 0
    for sentence in sentences:
        found, supported = _kind_of_sentence(sentence)
        kinds |= {found} - {""}
        supports += supported
        others += not found and not supported and _says_something(sentence)
    if heading:
        told = supports or len(kinds) > 1
        return "automatic reply" if told and others <= supports + len(kinds) - 1 else ""
    if others or not kinds:
        return ""
    if "subscription confirmation" in kinds:
        return "subscription confirmation" if _SUBSCRIPTION_PROOF.search(head) else ""
    if "automatic notice" in kinds:
        return "automatic notice"
    return "out-of-office reply" if supports else ""


def _kind_of_sentence(sentence: str) -> tuple[str, bool]:
    """Return what automatic mail a sentence announces, and whether it fits to such mail."""
    supported = bool(_SUPPORT.search(sentence))
    for kind, pattern in _KINDS.items():
        if pattern.search(sentence):
            return ("", False) if _OWN.search(sentence) else (kind, supported)
    return "", supported


_KINDS = {
    "out-of-office reply": _AWAY,
    "automatic notice": _NOTICE,
    "subscription confirmation": _SUBSCRIPTION,
}


def _says_something(sentence: str) -> bool:
    is_long = len(sentence.split()) >= LEAST_WORDS_OF_A_SENTENCE
    return is_long or _OWN.search(sentence) is not None


_REFUSAL_CUES = (
    *("as an ai", "as a language", "as a large", "as an artificial", "language model"),
    *("an ai", "als ki", "sprachmodell", "künstliche intelligenz", "en tant qu", "como "),
    *("but i can", "unable to"),
)
_CANNOT = r"(?:can(?:not|'t| not)|do(?: not|n't)|won't|will not|am unable|am not|unable|not able)\b"
_REFUSAL = re.compile(
    r"\bas an? (?:(?:large )?(?:ai )?language model|artificial intelligence(?: \w+)?"
    r"|ai(?: (?:assistant|model|chatbot|system))?)\b[^.!?\n]{0,120}?"
    rf"\bi(?:'m (?:unable|not)\b| {_CANNOT})"
    r"|\bi(?:'m| am) (?:just |only |merely )?an? (?:(?:large )?(?:ai )?language model"
    rf"|ai(?! (?:assistant|agent|chatbot)))\b[^.!?\n]{{0,120}}?\b{_CANNOT}"
    r"|\bals (?:eine? )?(?:großes )?(?:ki|künstliche intelligenz|(?:ki-?)?sprachmodell"
    r"|ki-(?:sprach)?modell|ki-assistent(?:in)?|ki-sprachmodell)\b[^.!?\n]{0,100}?"
    r"\b(?:kann|darf|habe|bin|besitze) ich\b[^.!?\n]{0,80}?\b(?:nicht|kein\w{0,2})\b"
    r"|\ben tant qu(?:e |'(?:une? )?)(?:ia|intelligence artificielle|modèle de langage"
    r"|assistant ia|modèle linguistique)\b[^.!?\n]{0,100}?\bje (?:ne |n')"
    r"|\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente de ia)\b"
    r"[^.!?\n]{0,100}?\bno (?:puedo|tengo|soy capaz|estoy)\b"
)
_WHOLE_REFUSAL = re.compile(
    r"\A(?:i'm|i am) (?:very )?sorry,? but i(?: can't| cannot|'m unable to|'m not able to"
    r"| am unable to| am not able to) (?:assist (?:you )?with (?:that|this)"
    r"|fulfill (?:that|this|your)|comply with (?:that|this|your))(?: request)?[.!]?\s*\Z"
)
LONGEST_WHOLE = 120


def model_refusal(text: str) -> str:
    """Return the words by which an assistant refuses as a language model, or nothing.

    An agent who is sorry and cannot do something is no language model; only the bare set phrase
    that models answer with counts, and only where it is all there is.
    """
    lower = _lower(text)
    for cue in _REFUSAL_CUES:
        if cue in lower:
            break
    else:
        return ""
    found = _REFUSAL.search(lower)
    if found is None and len(text) <= LONGEST_WHOLE:
        found = _WHOLE_REFUSAL.search(lower.strip())
    return " ".join(found.group().split()[:5]) if found else ""


def _lower(text: str) -> str:
    lower = text.lower()
    return lower if text.isascii() else lower.replace("\u2019", "'").replace("\xa0", " ")
