import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine.phrases import automatic_mail, model_refusal

AUTOMATIC = [
    (
        "Automatic reply: Your order 4711\n\nThank you for your email. I am out of the "
        "office until 5 May with limited access to email. For urgent matters please contact "
        "my colleague Anna at anna@example.org.\n\nKind regards\nJane Doe\nAccount Manager"
    ),
    (
        "Thank you for your message. I am currently out of the office and will return on "
        "Monday, 12 June. I will respond to your e-mail upon my return."
    ),
    (
        "I'm on annual leave until 3 January. In urgent cases please contact "
        "sales@example.com.\n\nBest regards,\nTom"
    ),
    "Out of office\n\nI am on vacation until the 4th. I will reply when I return.",
    "This is an automated message, please do not reply.",
    "Please do not reply to this email. This mailbox is not monitored.",
    (
        "Hello,\n\nThank you for contacting us. This is an automatic reply. Your request "
        "(12345) has been received and is being reviewed by our support staff.\n\nTo add "
        "additional comments, reply to this email."
    ),
    (
        "This is the mail system at host mail.example.com.\n\nI'm sorry to have to inform "
        "you that your message could not\nbe delivered to one or more recipients."
    ),
    (
        "Delivery has failed to these recipients or groups:\n\njo@example.org\nThe email "
        "address you entered couldn't be found."
    ),
    (
        "Undeliverable: Invoice 33\n\nYour message wasn't delivered because the mailbox is "
        "full. 552 5.2.2"
    ),
    (
        "Mail delivery failed: returning message to sender\n\nThis message was created "
        "automatically by mail delivery software."
    ),
    "Delivery Status Notification (Failure)\n\nThe following address failed: a@example.com",
    (
        "Thank you for subscribing to our newsletter! Please confirm your subscription by "
        "clicking the link below. If you did not subscribe, ignore this email."
    ),
    "Please confirm your subscription to the mailing list by clicking this button.",
    (
        "Vielen Dank für Ihre Nachricht. Ich bin bis zum 12.08. nicht im Büro. In dringenden "
        "Fällen wenden Sie sich an Frau Müller.\n\nMit freundlichen Grüßen\nKarl Schmidt"
    ),
    (
        "Abwesenheitsnotiz: Ihre Rechnung\n\nIch bin derzeit im Urlaub und ab dem 3. Mai "
        "wieder erreichbar. Ihre E-Mail wird nicht weitergeleitet."
    ),
    "Dies ist eine automatisch erzeugte Nachricht. Bitte antworten Sie nicht auf diese E-Mail.",
    (
        "Réponse automatique : commande\n\nMerci pour votre message. Je suis actuellement "
        "absente, de retour le 4 mai."
    ),
    (
        "Merci de votre message. Je suis en congé jusqu'au 10 août. En cas d'urgence, "
        "contactez le standard."
    ),
    "Ceci est un message automatique, merci de ne pas répondre à ce courriel.",
    (
        "Respuesta automática: pedido\n\nGracias por su mensaje. Estoy fuera de la oficina "
        "hasta el lunes. Para asuntos urgentes, contacte con mi compañera."
    ),
    "Este es un mensaje automático. No responda a este correo.",
    "Por favor, confirme su suscripción al boletín haciendo clic en el enlace.",
    "Veuillez confirmer votre inscription à la newsletter en cliquant sur le bouton.",
    "Bitte bestätigen Sie Ihre Anmeldung zum Newsletter mit einem Klick.",
    (
        "I am currently away from my desk and will be back on 14 July. For immediate "
        "assistance please contact the service desk."
    ),
    (
        "Hi,\n\nthanks for your mail. I will be out of the office from 3 to 9 June with no "
        "access to email. I will answer as soon as possible when I return.\n\nCheers\nPat"
    ),
    (
        "Guten Tag,\n\nvielen Dank für Ihre E-Mail. Ich bin vom 1. bis 14. August im Urlaub. "
        "Ihre Nachricht wird nicht weitergeleitet. In dringenden Fällen wenden Sie sich an "
        "info@example.de.\n\nViele Grüße\nAnna"
    ),
    (
        "Bonjour,\n\nJe suis absent jusqu'au 3 mars. Pour toute urgence, veuillez contacter "
        "le standard.\n\nCordialement\nLuc"
    ),
    (
        "Hola:\n\nGracias por su correo. Estoy de vacaciones hasta el 20 de agosto. A mi "
        "vuelta responderé.\n\nSaludos"
    ),
    "***This is an automatically generated email. Please do not respond to this email.***",
    (
        "Your message to support has been received. This is an automated response and a "
        "ticket has been created."
    ),
    "This e-mail was sent automatically. This inbox is not monitored.",
    "You have been successfully unsubscribed from our newsletter.",
    ("Undelivered Mail Returned to Sender\n\nThis is the mail system at host mx1.example.net."),
    (
        "Out of Office: Re: Invoice\n\nI'm on parental leave and will return in September. "
        "Please contact Kim."
    ),
    ("Abwesenheitsnachricht\n\nIch bin heute nicht im Haus. Ab morgen bin ich wieder erreichbar."),
]

BY_PEOPLE = [
    "Re: Automatic reply: ticket 55\n\nThank you for your reply. The new address is Dock Road 5.",
    "This is an automatically generated message. Your parcel 4711 has left our warehouse.",
    "Thank you for your email. I am out of the office until Monday. Cancel my order.",
    "Thank you for your email. I am out of the office until Monday. " + "It is broken. " * 150,
    "How do I set up an automatic reply for when I am out of office?",
    "My automatic reply does not work any more since the last update. Please fix it.",
    "Auto-reply: not working since the update, please fix.",
    "I only get an automatic reply that says thank you for your message and nobody answers me.",
    "I am out of the office until Monday, please deliver my parcel to the neighbour.",
    "Thanks for your email. I'm on vacation until Monday, I will send the photos then.",
    "I got an email that says this is an automated message, do not reply. Is it from you?",
    (
        "Your refund of $20 has been issued to your card. This is an automated message, "
        "please do not reply."
    ),
    (
        "When I write to you I get:\n\nDelivery has failed to these recipients or groups: "
        "support@example.com\nWhy?"
    ),
    "My mail is undeliverable, the server says mailbox full. What can I do?",
    "Delivery failed yesterday, the courier was not there. My order is 4711.",
    "Undeliverable parcel: the courier says the address is wrong. Please call me.",
    "Please confirm your subscription number so that I can look it up.",
    "Please cancel my newsletter subscription, I never subscribed to it.",
    "I want to confirm my subscription but the link in the newsletter is dead.",
    "You have been subscribed to the premium plan by mistake, I have refunded the fee.",
    "Please do not reply to this email, call me instead at 555-0100 because I have no internet.",
    "Does your chatbot answer? I want a human, not an automated message.",
    (
        "Thank you for contacting us. Your request has been received; the parcel left our "
        "office today and will arrive on Friday."
    ),
    "Thank you for your email, the replacement is on its way.",
    "I am on holiday and my card was stolen, please block it at once.",
    "Ich bin im Urlaub und meine Karte wurde gesperrt. Bitte helfen Sie mir dringend.",
    "Ich bin bis Freitag nicht im Büro, bitte schicken Sie das Paket an meine Privatadresse.",
    "Je suis en vacances et ma carte ne marche plus, aidez-moi en cas d'urgence.",
    "Estoy de vacaciones y mi tarjeta no funciona. Es urgente.",
    "Can you turn off the out of office reply for our team mailbox?",
    "Returned mail: I sent the shoes back last week and want my refund.",
    "Failure notice on my washing machine: it shows E21 and does not start.",
    "I am on leave from Monday and need the invoice before.",
    "I am out of office today, but you can reach me at home.",
    "The newsletter says you ship for free, but I was charged 5 euros.",
    "Your automatic payment failed and now my account is blocked.",
    "My automatic renewal should be off. I was charged again on Monday.",
    "I will be on vacation from Friday; hold my mail until the 20th.",
    "I'm out of the office and cannot reach the VPN since this morning.",
    "Delivery failed twice. I am at home all day.",
    "Mail delivery system rejects our invoices, what is the address for billing?",
    "Thank you for signing up. Your first box ships on Monday.",
    "You have successfully subscribed to the plan. The first invoice comes in May.",
    "Ihre automatische Antwort hilft mir nicht weiter, ich brauche einen Menschen.",
    "Votre réponse automatique ne m'aide pas, je veux un remboursement.",
    "Su respuesta automática no me sirve, quiero una devolución.",
    "We received your message and the technician comes tomorrow between 8 and 10.",
    "Estoy ausente el lunes, entreguen el paquete el martes.",
    "Unsubscribe me from the newsletter.",
    "How can I confirm your subscription email? The link is dead.",
]

REFUSALS = [
    "As an AI language model, I cannot provide medical advice.",
    "I'm sorry, but as an AI language model I don't have access to your account.",
    "As an AI, I am not able to feel.",
    "I am an AI language model and cannot browse the internet.",
    "I'm just a language model, so I can't do that.",
    "As a large language model trained by X, I do not have personal opinions.",
    "I'm sorry, but I can't assist with that.",
    "I\u2019m sorry, but I can\u2019t fulfill that request.",
    "Als KI-Sprachmodell kann ich keine persönlichen Daten einsehen.",
    "Als KI habe ich leider keinen Zugriff darauf.",
    "En tant qu'IA, je ne peux pas accéder à votre compte.",
    "En tant que modèle de langage, je n'ai pas accès à cela.",
    "Como modelo de lenguaje, no puedo acceder a su cuenta.",
    "Como IA no tengo acceso.",
    "As an AI assistant, I'm unable to process refunds.",
    "As an artificial intelligence, I can't taste food.",
]

BY_AGENTS = [
    "I'm sorry, I can't do that for you.",
    "I'm sorry, but I can't help with that refund; the billing team can. I'll connect you.",
    "Unfortunately I cannot assist with that request here, please call the bank.",
    "ChatGPT is an AI language model that cannot browse.",
    "As an agent I cannot see your card number.",
    "As an AI assistant for Acme, I can help you track your parcel.",
    "I'm an AI assistant and cannot process refunds, but I will connect you to an agent.",
    "I am unable to find your order. Could you send me the number?",
    "Como cliente no puede cambiar la tarifa.",
    "Our language model plan cannot be cancelled online.",
    "I'm sorry, but I cannot assist with that until you have verified your identity by phone.",
    "Como ya le dije, no puedo cambiar la fecha.",
    "As an air passenger you cannot claim twice. I can't change that.",
    "Als Kunde kann ich das nicht ändern.",
]


@pytest.mark.parametrize("text", AUTOMATIC)
def test_mail_that_is_nothing_but_automatic(text: str) -> None:
    assert automatic_mail(text)


@pytest.mark.parametrize("text", BY_PEOPLE)
def test_mail_by_people_who_mention_it(text: str) -> None:
    assert automatic_mail(text) == ""


@pytest.mark.parametrize(
    "text", [text for text in AUTOMATIC if "automatic reply" not in text.lower()]
)
def test_a_question_makes_it_mail_by_a_person(text: str) -> None:
    kind = automatic_mail(text)
    asked = automatic_mail(f"{text}\nWhere is my order?")
    assert asked == ("mail delivery failure" if kind == "mail delivery failure" else "")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, "automatic reply"),
        (1, "out-of-office reply"),
        (4, "automatic notice"),
        (7, "mail delivery failure"),
        (12, "subscription confirmation"),
    ],
)
def test_kinds(number: int, kind: str) -> None:
    assert automatic_mail(AUTOMATIC[number]) == kind


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_of_models(text: str) -> None:
    assert model_refusal(text)


@pytest.mark.parametrize("text", BY_AGENTS)
def test_agents_who_cannot(text: str) -> None:
    assert model_refusal(text) == ""


def test_only_the_first_words_of_a_refusal_are_told() -> None:
    assert model_refusal("As an AI language model, I cannot say.") == "as an ai language model,"


@pytest.mark.parametrize(
    "text",
    [
        "as an ai " * 11_000,
        "i'm an ai" + " a" * 50_000,
        "As a language model " + "i" * 100_000,
        "als ki kann ich " * 6_000,
        "automatic reply: " * 6_000,
        "this is an automated message " * 3_500,
        "thank you for your office the office reply " * 2_300,
        "undeliverable " + "a" * 100_000,
        "ihre nachricht an " + "b " * 50_000,
        "\n" * 100_000 + "newsletter",
        "out of office" + "." * 100_000,
    ],
)
def test_long_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    automatic_mail(text)
    model_refusal(text)
    assert time.process_time() - started < 0.5


WORDS = ["where", "is", "my", "parcel", "it", "left", "your", "shop", "on", "monday", "and"]


@given(st.lists(st.sampled_from(WORDS)))
def test_plain_words_are_never_taken_away(words: list[str]) -> None:
    text = " ".join(words)
    assert automatic_mail(text) == model_refusal(text) == ""
